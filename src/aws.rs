//! Region, credentials, endpoints and timeouts of AWS, once for all sinks.
