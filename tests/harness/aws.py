"""AWS in small: moto's server on a free loopback port, our strict checker before it, and boto3 to read back what came."""

import logging
import urllib.request

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

from .checker import Checker

# moto's server tells of every request.
logging.getLogger("werkzeug").setLevel(logging.ERROR)

REGION = "eu-central-1"


class Aws:
    """The router talks to `endpoint`; the tests read through `s3` and `logs`, past the checker."""

    def __init__(self):
        self.moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.moto.start()
        host, port = self.moto.get_host_and_port()
        self.backend = f"http://{host}:{port}"
        self.checker = Checker((host, port))
        self.endpoint = self.checker.url
        self.s3, self.logs = self._client("s3"), self._client("logs")

    def _client(self, service):
        return boto3.client(
            service,
            endpoint_url=self.backend,
            region_name=REGION,
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="example",
            config=Config(proxies={}, s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )

    def reset(self):
        """An empty account."""
        request = urllib.request.Request(f"{self.backend}/moto-api/reset", method="POST")
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).read()
        self.checker.reset()
        self.s3.create_bucket(Bucket="logs", CreateBucketConfiguration={"LocationConstraint": REGION})

    def stop(self):
        self.checker.stop()
        self.moto.stop()

    def groups(self):
        return {g["logGroupName"]: g for p in self._pages("describe_log_groups") for g in p["logGroups"]}

    def streams(self, group):
        pages = self._pages("describe_log_streams", logGroupName=group)
        return sorted(s["logStreamName"] for p in pages for s in p["logStreams"])

    def events(self, group, stream):
        """All events of a stream, as CloudWatch orders them."""
        events, token = [], None
        while True:
            more = {"nextToken": token} if token else {}
            page = self.logs.get_log_events(
                logGroupName=group, logStreamName=stream, startFromHead=True, limit=10000, **more
            )
            events += page["events"]
            if page["nextForwardToken"] == token or not page["events"]:
                return events
            token = page["nextForwardToken"]

    def _pages(self, call, **arguments):
        return self.logs.get_paginator(call).paginate(**arguments)


def s3_sink(aws, **more):
    return {
        "type": "s3", "region": REGION, "bucket": "logs", "endpoint": aws.endpoint, "path_style": True,
        "retry": {"initial": "50ms", "max": "500ms", "attempt_timeout": "5s"},
    } | more


def logs_sink(aws, **more):
    return {
        "type": "cloudwatch_logs", "region": REGION, "endpoint": aws.endpoint, "log_group": "/ecs/{container}",
        "retry": {"initial": "50ms", "max": "500ms", "attempt_timeout": "5s"}, "batch": {"age": "200ms"},
    } | more
