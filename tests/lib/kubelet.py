#!/usr/bin/python3
"""The pod of a DaemonSet, checked and run through CRI as a kubelet would.

  kubelet.py check FILE                        FILE: all manifests, as kustomize writes them
  kubelet.py start FILE WORK NODE=PATH...      run the pod; PATH is shown where the node has NODE
  kubelet.py stop POD                          as when it is deleted; prints the seconds it took

start prints JSON: the pod, and of each container state, exit code and output; it ends when the init
containers have ended and the others run, or when one has failed.  Socket, logs and cgroup as cri.py.
A field that is not known here is an error: what is tried is what the manifests say, all of it.
"""

import json
import os
import re
import stat
import sys
import time

import yaml

from cri import Cri, parse, pb, text

# What a kubelet hides of /proc and /sys, unless a pod has procMount: Unmasked.
MASKED = ["/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
          "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
CAPABILITIES = """AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE
    DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN
    NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT
    SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM""".split()

# ---- the shape of what we write: kubernetes.io/docs/reference, those fields that we use -------


class Maybe:
    def __init__(self, kind):
        self.kind = kind


class Match:
    def __init__(self, pattern):
        self.pattern = pattern


NAME = Match(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABELS = {Match(r"([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"): str}
QUANTITY = Match(r"[0-9]+(m|Ki|Mi|Gi)?")
PATH = Match(r"/\S+")
META = {"name": NAME, "namespace": Maybe(NAME), "labels": Maybe(LABELS), "annotations": Maybe({Match(".+"): str}),
        "creationTimestamp": Maybe(type(None))}
SECCOMP = {"type": Match("RuntimeDefault")}
RESOURCES = {"requests": {Match("cpu|memory"): QUANTITY}, "limits": Maybe({Match("cpu|memory"): QUANTITY})}
CONTAINER = {
    "name": NAME, "image": Match(r"[a-z0-9./:@_-]+"), "imagePullPolicy": Match("IfNotPresent"), "command": [str],
    "args": Maybe([str]), "env": Maybe([{"name": Match("[A-Z_]+"), "value": str}]), "resources": RESOURCES,
    "volumeMounts": Maybe([{"name": NAME, "mountPath": PATH, "readOnly": Maybe(bool)}]),
    "securityContext": {
        "runAsUser": int, "runAsGroup": int, "runAsNonRoot": Maybe(bool), "allowPrivilegeEscalation": bool,
        "readOnlyRootFilesystem": bool,
        "capabilities": {"drop": [Match("ALL")], "add": Maybe([Match("|".join(CAPABILITIES))])},
    },
}
VOLUME = {
    "name": NAME,
    "configMap": Maybe({"name": NAME}),
    "secret": Maybe({"secretName": NAME, "optional": bool, "items": [{"key": str, "path": str}]}),
    "hostPath": Maybe({"path": PATH, "type": Match("Directory|DirectoryOrCreate|Socket")}),
}
POD = {
    "serviceAccountName": NAME, "automountServiceAccountToken": bool, "enableServiceLinks": bool,
    "priorityClassName": NAME, "hostNetwork": bool, "dnsPolicy": Match("Default"), "shareProcessNamespace": bool,
    "nodeSelector": LABELS, "tolerations": [{"operator": Match("Exists")}],
    "securityContext": {"seccompProfile": SECCOMP}, "initContainers": [CONTAINER], "containers": [CONTAINER],
    "volumes": [VOLUME],
}
KINDS = {
    ("v1", "Namespace"): {},
    ("v1", "ServiceAccount"): {"automountServiceAccountToken": bool},
    ("v1", "ConfigMap"): {"data": {str: str}},
    ("scheduling.k8s.io/v1", "PriorityClass"): {
        "value": int, "preemptionPolicy": Match("Never|PreemptLowerPriority"), "globalDefault": bool, "description": str},
    ("apps/v1", "DaemonSet"): {"spec": {
        "selector": {"matchLabels": LABELS},
        "updateStrategy": {"type": Match("RollingUpdate"), "rollingUpdate": {"maxUnavailable": Match("[1-9][0-9]?%")}},
        "template": {"metadata": {"labels": LABELS, "annotations": Maybe({str: str}),
                                  "creationTimestamp": Maybe(type(None))}, "spec": POD},
    }},
}


def conform(value, kind, where):
    if isinstance(kind, Maybe):
        kind = kind.kind
    if isinstance(kind, Match):
        if not isinstance(value, str) or not re.fullmatch(kind.pattern, value):
            raise SystemExit("%s: %r is not %s" % (where, value, kind.pattern))
    elif isinstance(kind, list):
        if not isinstance(value, list):
            raise SystemExit("%s: no list" % where)
        for i, item in enumerate(value):
            conform(item, kind[0], "%s[%d]" % (where, i))
    elif isinstance(kind, dict):
        conform_map(value, kind, where)
    elif type(value) is not kind:  # True is an int, too
        raise SystemExit("%s: %r is no %s" % (where, value, kind.__name__))


def conform_map(value, kind, where):
    if not isinstance(value, dict):
        raise SystemExit("%s: no map" % where)
    free = [k for k in kind if not isinstance(k, str)]
    for key, item in value.items():
        if not free and key not in kind:
            raise SystemExit("%s: unknown field %s" % (where, key))
        if free:
            conform(key, free[0], where)
        conform(item, kind[free[0]] if free else kind[key], "%s.%s" % (where, key))
    for key, of in kind.items():
        if not free and not isinstance(of, Maybe) and key not in value:
            raise SystemExit("%s: no %s" % (where, key))


class Manifests:
    def __init__(self, path):
        self.found = {}
        with open(path, encoding="utf-8") as f:
            for doc in filter(None, yaml.safe_load_all(f)):
                kind = (doc.get("apiVersion"), doc.get("kind"))
                if kind not in KINDS:
                    raise SystemExit("unknown kind: %s %s" % kind)
                shape = dict(KINDS[kind], apiVersion=str, kind=str, metadata=META)
                conform(doc, shape, kind[1])
                self.found[kind[1], doc["metadata"]["name"]] = doc
        self.set = self.only("DaemonSet")
        self.pod = self.set["spec"]["template"]["spec"]
        self.refer()

    def only(self, kind):
        all_of_it = [d for (k, _), d in self.found.items() if k == kind]
        if len(all_of_it) != 1:
            raise SystemExit("%d of kind %s" % (len(all_of_it), kind))
        return all_of_it[0]

    def get(self, kind, name):
        if (kind, name) not in self.found:
            raise SystemExit("no %s is called %s" % (kind, name))
        return self.found[kind, name]

    def refer(self):
        """Names lead somewhere, and mounts to volumes that the pod has, each used."""
        pod, spec = self.pod, self.set["spec"]
        namespace = self.only("Namespace")["metadata"]["name"]
        for (kind, name), doc in self.found.items():
            wanted = None if kind in ("Namespace", "PriorityClass") else namespace
            # some versions of kustomize also give a Namespace one
            if doc["metadata"].get("namespace") != wanted and kind != "Namespace":
                raise SystemExit("%s %s is in the wrong namespace" % (kind, name))
        self.get("ServiceAccount", pod["serviceAccountName"])
        self.get("PriorityClass", pod["priorityClassName"])
        if spec["selector"]["matchLabels"].items() - spec["template"]["metadata"]["labels"].items():
            raise SystemExit("the selector does not match the pods")
        volumes = {v["name"]: v for v in pod["volumes"]}
        mounted = {m["name"] for c in pod["initContainers"] + pod["containers"] for m in c.get("volumeMounts", [])}
        if mounted != set(volumes) or len(volumes) != len(pod["volumes"]):
            raise SystemExit("volumes %s, mounts %s" % (sorted(volumes), sorted(mounted)))
        for v in volumes.values():
            if len(v) != 2:
                raise SystemExit("volume %s: not one source" % v["name"])
            if "configMap" in v:
                self.get("ConfigMap", v["configMap"]["name"])
        for c in pod["initContainers"] + pod["containers"]:
            s = c["securityContext"]
            if s.get("runAsNonRoot") and not s["runAsUser"]:
                raise SystemExit("%s: runs as root and must not" % c["name"])


# ---- running it ---------------------------------------------------------------------


def quantity(value):
    number, unit = re.fullmatch(r"([0-9]+)(\D*)", value).groups()
    return int(number) * {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}[unit]


def host_path(source, node):
    path = node.get(source["path"])
    if path is None:
        raise SystemExit("nothing was given for the node's %s" % source["path"])
    if source["type"] == "DirectoryOrCreate":
        os.makedirs(path, exist_ok=True)
    mode = os.stat(path).st_mode
    if not (stat.S_ISSOCK(mode) if source["type"] == "Socket" else stat.S_ISDIR(mode)):
        raise SystemExit("%s is no %s" % (path, source["type"]))
    return path


def lay_volumes(manifests, work, node):
    paths = {}
    for v in manifests.pod["volumes"]:
        if "hostPath" in v:
            paths[v["name"]] = host_path(v["hostPath"], node)
            continue
        paths[v["name"]] = path = os.path.join(work, v["name"])
        os.makedirs(path)
        if "configMap" in v:
            for name, content in manifests.get("ConfigMap", v["configMap"]["name"])["data"].items():
                with open(os.path.join(path, name), "w", encoding="utf-8") as f:
                    f.write(content)
        # A secret: there is none here, which must be optional.
        elif not v["secret"]["optional"]:
            raise SystemExit("there are no secrets here")
    return paths


def security(pod, c, namespaces):
    s, caps = c["securityContext"], c["securityContext"]["capabilities"]
    return pb((1, pb((1, caps.get("add", [])), (2, caps["drop"]))), (3, namespaces), (5, pb((1, s["runAsUser"]))),
              (7, s["readOnlyRootFilesystem"]), (10, None), (11, not s["allowPrivilegeEscalation"]),
              (12, pb((1, s["runAsGroup"]))), (13, MASKED), (14, READ_ONLY),
              # RuntimeDefault is 0
              (15, b"" if pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault" else pb((1, 1))))


def container_spec(pod, c, paths, namespaces):
    memory = c["resources"].get("limits", {}).get("memory")
    mounts = [pb((1, m["mountPath"]), (2, paths[m["name"]]), (3, m.get("readOnly", False)))
              for m in c.get("volumeMounts", [])]
    return pb((1, pb((1, c["name"]))), (2, pb((1, c["image"]))), (3, c["command"]), (4, c.get("args", [])),
              (6, [pb((1, e["name"]), (2, e["value"])) for e in c.get("env", [])]), (7, mounts), (11, c["name"] + ".log"),
              (15, pb((1, pb((4, quantity(memory) if memory else 0))), (2, security(pod, c, namespaces)))))


class Kubelet:
    def __init__(self, manifests, work, node):
        self.cri = Cri(os.environ["CRI_SOCKET"])
        self.pod = manifests.pod
        self.logs = os.path.join(work, "logs")
        os.makedirs(self.logs)
        self.paths = lay_volumes(manifests, work, node)
        shared = self.pod["shareProcessNamespace"]
        self.namespaces = pb((1, 2 if self.pod["hostNetwork"] else 0), (2, 0 if shared else 1))
        name = manifests.set["metadata"]["name"]
        self.config = pb((1, pb((1, name), (2, name + str(os.getpid())), (3, manifests.set["metadata"]["namespace"]))),
                         (3, self.logs), (8, pb((1, os.environ.get("CRI_CGROUP")), (2, pb((1, self.namespaces))))))
        self.id = text(self.cri.runtime("RunPodSandbox", (1, self.config)), 1)

    def start(self, c):
        spec = container_spec(self.pod, c, self.paths, self.namespaces)
        made = self.cri.runtime("CreateContainer", (1, self.id), (2, spec), (3, self.config))
        self.cri.runtime("StartContainer", (1, text(made, 1)))
        return text(made, 1)

    def state(self, c, cid, wanted, seconds):
        end = time.monotonic() + seconds
        state = self.cri.container(cid)
        while state["state"] != wanted and state["state"] != "exited" and time.monotonic() < end:
            time.sleep(0.05)
            state = self.cri.container(cid)
        with open(os.path.join(self.logs, c["name"] + ".log"), encoding="utf-8", errors="replace") as f:
            state["output"] = "".join(line.split(" ", 3)[-1] for line in f)
        return dict(state, name=c["name"])

    def run(self):
        states = []
        for c in self.pod["initContainers"]:
            states.append(self.state(c, self.start(c), "exited", 120))
            if states[-1]["state"] != "exited" or states[-1]["exit_code"]:
                return states
        for c in self.pod["containers"]:
            cid = self.start(c)
            time.sleep(0.2)  # one that cannot run has ended by then
            states.append(self.state(c, cid, "running", 10))
        return states


def stop(pod):
    cri = Cri(os.environ["CRI_SOCKET"])
    start = time.monotonic()
    for raw in cri.runtime("ListContainers", (1, pb((3, pod)))).get(1, []):
        cri.runtime("StopContainer", (1, text(parse(raw), 1)), (2, 30))
    took = time.monotonic() - start
    cri.remove_pod(pod)
    return round(took, 1)


def main(argv):
    if argv[:1] == ["check"] and len(argv) == 2:
        found = Manifests(argv[1]).found
        answer = ["%s/%s" % key for key in sorted(found)]
    elif argv[:1] == ["start"] and len(argv) >= 3:
        kubelet = Kubelet(Manifests(argv[1]), argv[2], dict(word.split("=", 1) for word in argv[3:]))
        answer = {"containers": kubelet.run(), "pod": kubelet.id}
    elif argv[:1] == ["stop"] and len(argv) == 2:
        answer = stop(argv[1])
    else:
        sys.exit(__doc__)
    json.dump(answer, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(sys.argv[1:])
