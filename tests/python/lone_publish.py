"""How long a lone publish takes from the stock Python client: one message of 1 KiB in flight, the next after its receipt.

usage: lone_publish.py pulsar://HOST:PORT [MESSAGES]
"""

import sys
import time
import uuid

import pulsar

WARM_UP = 500


def main():
    url, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5000
    client = pulsar.Client(url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
    producer = client.create_producer(f"lone-{uuid.uuid4().hex[:8]}", batching_enabled=False)
    body, times = b"x" * 1024, []
    for _ in range(WARM_UP + count):
        began = time.perf_counter()
        producer.send(body)
        times.append(time.perf_counter() - began)
    times = sorted(times[WARM_UP:])
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1)):
        print(f"{name} {times[min(int(share * count), count - 1)] * 1000:.3f} ms")
    client.close()


main()
