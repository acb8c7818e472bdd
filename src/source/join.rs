//! Joins the parts into which Docker cuts lines of more than 16 KiB.
