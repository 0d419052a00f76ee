#!/usr/bin/python3
"""A small CRI client: cri.py [-s SOCKET] COMMAND ...  (socket default: $CRI_SOCKET)

  wait [SECONDS]                      until CRI answers
  images                              list of images
  image-status REF                    one image with its chain id, or null
  pull REF                            pull through CRI
  rmi REF...                          remove images
  run REF [--pod-network] [--keep] [--env K=V]... [--for SECONDS] [-- COMMAND...]
                                      pod and container from REF without pulling, in
                                      the network of the host;
                                      waits until it runs or has ended; prints the state.
                                      An ended container and its pod are removed unless --keep
  status ID                           state of a container
  exec ID -- COMMAND...               run a command, print {stdout, stderr, exit_code}
  remove-all                          stop and remove every pod

Output is JSON.  Messages are protobuf, written and read by the few lines below;
the field numbers are those of runtime.v1.
"""

import json
import os
import sys
import time
import uuid

import grpc


# ---- protobuf ---------------------------------------------------------------

def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def pb(*fields):
    """(number, value) pairs: int, bool, str, bytes (also nested messages), list, dict."""
    out = b""
    for number, value in fields:
        if isinstance(value, list):
            out += b"".join(pb((number, v)) for v in value)
        elif isinstance(value, dict):
            out += b"".join(pb((number, pb((1, k), (2, v)))) for k, v in value.items())
        elif isinstance(value, int):
            if value:
                out += varint(number << 3) + varint(int(value))
        elif value is not None:
            raw = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(raw)) + raw
    return out


def parse(raw):
    """field number -> list of ints or bytes."""
    fields, i = {}, 0

    def number():
        nonlocal i
        shift = value = 0
        while True:
            byte = raw[i]
            i += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while i < len(raw):
        key = number()
        kind = key & 7
        if kind == 0:
            value = number()
        elif kind == 2:
            size = number()
            value = raw[i:i + size]
            i += size
        else:
            size = 8 if kind == 1 else 4
            value = int.from_bytes(raw[i:i + size], "little")
            i += size
        fields.setdefault(key >> 3, []).append(value)
    return fields


def text(fields, number):
    return fields.get(number, [b""])[-1].decode("utf-8", "replace")


def num(fields, number):
    value = fields.get(number, [0])[-1]
    return value - (1 << 64) if value >> 63 else value


def strings(fields, number):
    return [v.decode("utf-8", "replace") for v in fields.get(number, [])]


def mapping(fields, number):
    return {text(e, 1): text(e, 2) for e in map(parse, fields.get(number, []))}


# ---- calls ------------------------------------------------------------------

class Cri:
    def __init__(self, socket):
        self.channel = grpc.insecure_channel("unix:" + socket, options=[
            ("grpc.max_receive_message_length", 64 << 20), ("grpc.default_authority", "localhost"),
            ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 300)])

    def call(self, service, method, *fields, timeout=300):
        unary = self.channel.unary_unary("/runtime.v1.%sService/%s" % (service, method),
                                         request_serializer=None, response_deserializer=None)
        return parse(unary(pb(*fields), timeout=timeout))

    def runtime(self, method, *fields, **kw):
        return self.call("Runtime", method, *fields, **kw)

    def image(self, method, *fields, **kw):
        return self.call("Image", method, *fields, **kw)

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while True:
            try:
                version = self.runtime("Version", timeout=5)
                self.image("ListImages", timeout=5)
                return {"runtime": text(version, 2), "version": text(version, 3)}
            except grpc.RpcError as e:
                if time.monotonic() > end:
                    raise SystemExit("cri.py: CRI does not answer: %s" % e.details())
                time.sleep(0.05)

    @staticmethod
    def image_dict(raw):
        f = parse(raw)
        return {"id": text(f, 1), "tags": strings(f, 2), "digests": strings(f, 3),
                "size": num(f, 4), "pinned": bool(num(f, 8))}

    def images(self):
        found = [self.image_dict(raw) for raw in self.image("ListImages").get(1, [])]
        return sorted(found, key=lambda i: (i["tags"], i["id"]))

    def image_status(self, ref):
        answer = self.image("ImageStatus", (1, pb((1, ref))), (2, True))
        if 1 not in answer:
            return None
        image = self.image_dict(answer[1][0])
        info = json.loads(mapping(answer, 2).get("info", "{}"))
        image["chainID"] = info.get("chainID")
        image["config"] = info.get("imageSpec", {}).get("config")
        return image

    def pull(self, ref):
        return {"image_ref": text(self.image("PullImage", (1, pb((1, ref)))), 1)}

    def container(self, cid):
        answer = self.runtime("ContainerStatus", (1, cid), (2, True))
        f = parse(answer[1][0])
        info = json.loads(mapping(answer, 2).get("info", "{}"))
        return {"id": text(f, 1), "state": ["created", "running", "exited", "unknown"][num(f, 3)],
                "exit_code": num(f, 7), "image_ref": text(f, 9), "reason": text(f, 10),
                "message": text(f, 11), "snapshot": info.get("snapshotKey"), "pid": info.get("pid")}

    def run(self, ref, command, env, host_network, seconds, keep):
        name = "t" + uuid.uuid4().hex[:12]
        network = 2 if host_network else 0
        logs = os.environ.get("CRI_LOGS", "")
        namespaces = pb((1, network))
        config = pb((1, pb((1, name), (2, name), (3, "default"))),
                    (3, logs or None),
                    (8, pb((1, os.environ.get("CRI_CGROUP")), (2, pb((1, namespaces))))))
        pod = text(self.runtime("RunPodSandbox", (1, config)), 1)
        try:
            spec = pb((1, pb((1, name))), (2, pb((1, ref))), (3, command),
                      (6, [pb((1, e.split("=", 1)[0]), (2, e.split("=", 1)[1])) for e in env]),
                      (10, {"k3simg": "test"}),
                      (11, name + ".log" if logs else None),
                      (15, pb((2, pb((3, namespaces), (15, pb((1, 1))))))))
            cid = text(self.runtime("CreateContainer", (1, pod), (2, spec), (3, config)), 1)
            self.runtime("StartContainer", (1, cid))
            end = time.monotonic() + seconds
            while True:
                state = self.container(cid)
                if state["state"] == "exited" or (time.monotonic() > end and state["state"] == "running"):
                    break
                if time.monotonic() > end + 20:
                    break
                time.sleep(0.05)
        except BaseException:
            self.remove_pod(pod)
            raise
        state["pod"] = pod
        if logs:
            path = os.path.join(logs, name + ".log")
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as f:
                    state["output"] = "".join(line.split(" ", 3)[-1] for line in f)
        if state["state"] == "exited" and not keep:
            self.remove_pod(pod)
        return state

    def remove_pod(self, pod):
        for raw in self.runtime("ListContainers", (1, pb((3, pod)))).get(1, []):
            cid = text(parse(raw), 1)
            self.runtime("StopContainer", (1, cid), (2, 1))
            self.runtime("RemoveContainer", (1, cid))
        self.runtime("StopPodSandbox", (1, pod))
        self.runtime("RemovePodSandbox", (1, pod))

    def remove_all(self):
        pods = [text(parse(raw), 1) for raw in self.runtime("ListPodSandbox").get(1, [])]
        for pod in pods:
            self.remove_pod(pod)
        return {"removed": len(pods)}

    def exec(self, cid, command):
        f = self.runtime("ExecSync", (1, cid), (2, command), (3, 30))
        return {"stdout": text(f, 1), "stderr": text(f, 2), "exit_code": num(f, 3)}


def main(argv):
    socket = os.environ.get("CRI_SOCKET", "")
    if argv[:1] == ["-s"]:
        socket, argv = argv[1], argv[2:]
    if not argv or not socket:
        sys.exit(__doc__)
    command, rest = [], argv[1:]
    if "--" in rest:
        at = rest.index("--")
        rest, command = rest[:at], rest[at + 1:]
    cri, verb = Cri(socket), argv[0]
    try:
        if verb == "wait":
            answer = cri.wait(float(rest[0]) if rest else 30)
        elif verb == "images":
            answer = cri.images()
        elif verb == "image-status":
            answer = cri.image_status(rest[0])
        elif verb == "pull":
            answer = cri.pull(rest[0])
        elif verb == "rmi":
            for ref in rest:
                cri.image("RemoveImage", (1, pb((1, ref))))
            answer = {"removed": rest}
        elif verb == "run":
            ref, env, seconds, flags = None, [], 0.5, set()
            it = iter(rest)
            for arg in it:
                if arg == "--env":
                    env.append(next(it))
                elif arg == "--for":
                    seconds = float(next(it))
                elif arg.startswith("--"):
                    flags.add(arg)
                else:
                    ref = arg
            if flags - {"--pod-network", "--keep"}:
                sys.exit(__doc__)
            answer = cri.run(ref, command, env, "--pod-network" not in flags, seconds, "--keep" in flags)
        elif verb == "status":
            answer = cri.container(rest[0])
        elif verb == "exec":
            answer = cri.exec(rest[0], command)
        elif verb == "remove-all":
            answer = cri.remove_all()
        else:
            sys.exit(__doc__)
    except grpc.RpcError as e:
        sys.exit("cri.py: %s: %s: %s" % (verb, e.code().name, e.details()))
    json.dump(answer, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(sys.argv[1:])
