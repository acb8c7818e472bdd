"""CloudWatch Logs in small: each accepted PutLogEvents is a line of a file, so that whoever reads them back needs no
server. Groups and streams must be created first."""

import json
from collections import Counter

from harness.rules import Refused, read_call


class Logs:
    def __init__(self, path):
        self.file = open(path, "a", encoding="utf-8")
        self.groups = {}
        self.counts = Counter()
        # A name that holds this text is refused as AWS refuses a name that breaks its rules.
        self.wrong_name = None

    def report(self):
        return {"groups": len(self.groups), **self.counts}

    def call(self, api, headers, body):
        """Status, headers, body of the answer."""
        call = read_call(api, headers, body)
        group = call.get("logGroupName")
        if self.wrong_name and group and self.wrong_name in group:
            raise Refused("InvalidParameterException", f"Value '{group}' at 'logGroupName' failed to satisfy constraint")
        answer = {}
        if api == "CreateLogGroup":
            if group in self.groups:
                raise Refused("ResourceAlreadyExistsException", "The specified log group already exists")
            self.groups[group] = set()
        elif api == "CreateLogStream":
            streams = self._streams(group)
            if call["logStreamName"] in streams:
                raise Refused("ResourceAlreadyExistsException", "The specified log stream already exists")
            streams.add(call["logStreamName"])
        elif api == "PutRetentionPolicy":
            self._streams(group)
        elif api == "PutLogEvents":
            if call["logStreamName"] not in self._streams(group):
                raise Refused("ResourceNotFoundException", "The specified log stream does not exist.")
            self.counts["events"] += len(call["logEvents"])
            self.file.write(json.dumps([group, call["logStreamName"], call["logEvents"]]) + "\n")
            self.file.flush()
            answer = {"nextSequenceToken": "0"}
        else:
            raise Refused("UnknownOperationException", f"{api} is not implemented")
        return 200, {"content-type": "application/x-amz-json-1.1"}, json.dumps(answer).encode()

    def _streams(self, group):
        if group not in self.groups:
            raise Refused("ResourceNotFoundException", "The specified log group does not exist.")
        return self.groups[group]
