"""The task metadata endpoint of ECS, version 4, in small."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TASK = {
    "Cluster": "arn:aws:ecs:us-west-2:111122223333:cluster/production",
    "TaskARN": "arn:aws:ecs:us-west-2:111122223333:task/production/158d1c8083dd49d6b527399fd6414f5c",
    "Family": "webshop",
    "ServiceName": "webshop",
    "Revision": "26",
    "DesiredStatus": "RUNNING",
    "LaunchType": "FARGATE",
    "Limits": {"CPU": 0.25, "Memory": 512},
    "Containers": [],
}


class Metadata:
    """Answers `<uri>/task`; with `failures` it first answers so many requests with 500."""

    def __init__(self, failures=0):
        owner = self
        self.failures = failures
        self.asked = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                owner.asked.append(self.path)
                found = self.path == "/v4/0123abcd-1/task"
                status = 500 if owner.failures > 0 else 200 if found else 404
                owner.failures -= 1
                body = json.dumps(TASK).encode() if status == 200 else b"{}"
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.server.server_port}/v4/0123abcd-1"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
