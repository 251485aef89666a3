#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""usage: cri.py run POD.yaml | remove SANDBOX

What a kubelet says to a container runtime about a pod, without a cluster: "run" makes a
sandbox with the pod's annotations and starts its first container in it, and prints the
ids of both; "remove" ends it.  Debian has no crictl.  Messages are those of runtime.v1 of
the Container Runtime Interface, as far as they are needed, encoded by hand."""
import sys

import grpc
import yaml

SOCKET = "unix:///run/containerd/containerd.sock"
NETWORK_OF_NODE = 2


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def mapping(number, entries):
    return b"".join(field(number, field(1, k) + field(2, v)) for k, v in entries.items())


def first_string(message):
    """Of an answer with an id: field 1, shorter than 128 bytes."""
    assert message[0] == 1 << 3 | 2, message
    return message[2:2 + message[1]].decode()


def call(channel, method, request):
    return channel.unary_unary("/runtime.v1.RuntimeService/" + method)(request, timeout=60)


def sandbox_config(pod):
    meta = pod["metadata"]
    name = meta["name"]
    config = field(1, field(1, name) + field(2, "uid-" + name) + field(3, "default"))
    config += field(4, field(1, "127.0.0.1"))
    config += mapping(7, meta.get("annotations", {}))
    options = field(1, NETWORK_OF_NODE) if pod["spec"].get("hostNetwork") else b""
    return config + field(8, field(2, field(1, options)))


def run(channel, pod):
    sandbox = sandbox_config(pod)
    handler = pod["spec"].get("runtimeClassName", "")
    pod_id = first_string(call(channel, "RunPodSandbox", field(1, sandbox) + field(2, handler)))
    print(pod_id, flush=True)
    container = pod["spec"]["containers"][0]
    config = field(1, field(1, container["name"])) + field(2, field(1, container["image"]))
    config += b"".join(field(3, word) for word in container["command"])
    made = call(channel, "CreateContainer", field(1, pod_id) + field(2, config) + field(3, sandbox))
    container_id = first_string(made)
    call(channel, "StartContainer", field(1, container_id))
    print(container_id)


def main(verb, argument):
    with grpc.insecure_channel(SOCKET) as channel:
        try:
            if verb == "run":
                with open(argument, encoding="utf-8") as f:
                    run(channel, yaml.safe_load(f))
            else:
                call(channel, "StopPodSandbox", field(1, argument))
                call(channel, "RemovePodSandbox", field(1, argument))
        except grpc.RpcError as error:
            sys.exit(error.details())


main(*sys.argv[1:])
