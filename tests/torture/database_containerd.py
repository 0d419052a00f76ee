"""containerd's own interface, as far as the database tests need it: one connection for all calls.
Fields by number as in containerd's api/services/*/v1/*.proto."""

import os
import sys

import grpc

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from cri import Cri, mapping, num, parse, pb, text  # noqa: E402

MASK_LABELS = pb((1, "labels"))


class Containerd:
    def __init__(self, socket):
        self.cri = Cri(socket)
        self.channel = self.cri.channel

    def call(self, service, method, *fields, ns="k8s.io", lease=None, stream=False, many=None):
        """One message and its answer; stream: a list of answers; many: several messages."""
        package = service.lower() if service != "Store" else "sandbox"
        path = "/containerd.services.%s.v1.%s/%s" % (package, service, method)
        metadata = [("containerd-namespace", ns)] + ([("containerd-lease", lease)] if lease else [])
        if many is not None:
            answers = self.channel.stream_stream(path)(iter(many), metadata=metadata, timeout=120)
            return [parse(a) for a in answers]
        if stream:
            answers = self.channel.unary_stream(path)(pb(*fields), metadata=metadata, timeout=120)
            return [parse(a) for a in answers]
        return parse(self.channel.unary_unary(path)(pb(*fields), metadata=metadata, timeout=120))

    # ---- making ----------------------------------------------------------------------------

    def namespace(self, name, labels):
        self.call("Namespaces", "Create", (1, pb((1, name), (2, labels))))

    def label_namespace(self, name, key, value):
        self.call("Namespaces", "Update", (1, pb((1, name), (2, {key: value}))), (2, pb((1, "labels." + key))))

    def blob(self, ns, digest, data, labels, lease):
        try:
            self.call("Content", "Write", ns=ns, lease=lease, many=[
                pb((1, 2), (2, "write-" + digest), (3, len(data)), (4, digest), (6, data), (7, labels))])
        except grpc.RpcError as e:
            if e.code() != grpc.StatusCode.ALREADY_EXISTS:
                raise
            self.call("Content", "Update", (1, pb((1, digest), (5, labels))), (2, MASK_LABELS), ns=ns)

    def ingest(self, ns, ref, data, lease=None):
        """Bytes of a blob that never comes to its end."""
        self.call("Content", "Write", ns=ns, lease=lease,
                  many=[pb((1, 1), (2, ref), (3, 10 * len(data)), (6, data))])

    def abort(self, ns, ref):
        self.call("Content", "Abort", (1, ref), ns=ns)

    def image(self, ns, name, media, digest, size, labels=None, notes=None):
        target = pb((1, media), (2, digest), (3, size), (5, notes or {}))
        try:
            self.call("Images", "Create", (1, pb((1, name), (2, labels or {}), (3, target))), ns=ns)
        except grpc.RpcError as e:
            if e.code() != grpc.StatusCode.ALREADY_EXISTS:
                raise
            self.call("Images", "Update", (1, pb((1, name), (2, labels or {}), (3, target))), ns=ns)

    def whole_image(self, ns, name, image, lease, labels=None, notes=None):
        """An image with all its blobs, not unpacked."""
        for digest, (data, _) in image.blobs.items():
            refs = image.references(digest) if digest in image.documents else {}
            self.blob(ns, digest, data, refs, lease)
        self.image(ns, name, image.media, image.digest, image.size, labels, notes)

    def delete_image(self, ns, name, sync=False):
        self.call("Images", "Delete", (1, name), (2, sync), ns=ns)

    def remove(self, name):
        """An image with all its names, as the kubelet does it."""
        self.cri.image("RemoveImage", (1, pb((1, name))))

    def lease(self, ns, id_, labels=None, resources=()):
        self.call("Leases", "Create", (1, id_), (3, labels or {}), ns=ns)
        for kind, resource in resources:
            self.call("Leases", "AddResource", (1, id_), (2, pb((1, resource), (2, kind))), ns=ns)

    def delete_lease(self, ns, id_, sync=False):
        self.call("Leases", "Delete", (1, id_), (2, sync), ns=ns)

    def collect(self):
        """Garbage collection, to its end."""
        self.lease("default", "collect")
        self.delete_lease("default", "collect", sync=True)

    def snapshot(self, ns, snapshotter, name, parent, labels, lease, commit=True):
        key = "prepare-" + name if commit else name
        self.call("Snapshots", "Prepare", (1, snapshotter), (2, key), (3, parent), (4, labels), ns=ns, lease=lease)
        if commit:
            self.call("Snapshots", "Commit", (1, snapshotter), (2, name), (3, key), (4, labels), ns=ns, lease=lease)

    def view(self, ns, snapshotter, name, parent, labels):
        self.call("Snapshots", "View", (1, snapshotter), (2, name), (3, parent), (4, labels), ns=ns)

    def remove_snapshot(self, ns, snapshotter, name):
        self.call("Snapshots", "Remove", (1, snapshotter), (2, name), ns=ns)

    def container(self, ns, id_, image, labels, snapshotter="", key=""):
        spec = pb((1, "types.containerd.io/opencontainers/runtime-spec/1/Spec"), (2, b'{"ociVersion":"1.0.2"}'))
        runtime = pb((1, "io.containerd.runc.v2"))
        self.call("Containers", "Create", (1, pb((1, id_), (2, labels), (3, image), (4, runtime), (5, spec),
                                                 (6, snapshotter), (7, key))), ns=ns)

    def delete_container(self, ns, id_):
        self.call("Containers", "Delete", (1, id_), ns=ns)

    def sandbox(self, ns, id_, labels):
        spec = pb((1, "types.containerd.io/opencontainers/runtime-spec/1/Spec"), (2, b"{}"))
        self.call("Store", "Create", (1, pb((1, id_), (2, pb((1, "io.containerd.runc.v2"))), (3, spec),
                                            (4, labels), (10, "shim"))), ns=ns)

    def delete_sandbox(self, ns, id_):
        self.call("Store", "Delete", (1, id_), ns=ns)

    # ---- looking ---------------------------------------------------------------------------

    def plugins(self, kind):
        """The plugins of a type that work."""
        found = map(parse, self.call("Introspection", "Plugins").get(1, []))
        return {text(p, 2) for p in found if text(p, 1) == kind and 7 not in p}

    def namespaces(self):
        return {text(n, 1): mapping(n, 2) for n in map(parse, self.call("Namespaces", "List").get(1, []))}

    def images(self, ns):
        found = {}
        for image in map(parse, self.call("Images", "List", ns=ns).get(1, [])):
            found[text(image, 1)] = [text(parse(image[3][0]), 2), mapping(image, 2)]
        return found

    def leases(self, ns):
        found = {}
        for lease in map(parse, self.call("Leases", "List", ns=ns).get(1, [])):
            id_ = text(lease, 1)
            resources = map(parse, self.call("Leases", "ListResources", (1, id_), ns=ns).get(1, []))
            found[id_] = [mapping(lease, 3), sorted([text(r, 2), text(r, 1)] for r in resources)]
        return found

    def containers(self, ns):
        found = map(parse, self.call("Containers", "List", ns=ns).get(1, []))
        return {text(c, 1): [text(c, 3), text(c, 6), text(c, 7), mapping(c, 2)] for c in found}

    def sandboxes(self, ns):
        try:
            found = map(parse, self.call("Store", "List", ns=ns).get(1, []))
        except grpc.RpcError as e:
            if e.code() != grpc.StatusCode.UNIMPLEMENTED:
                raise
            return None
        return {text(s, 1): mapping(s, 4) for s in found}

    def content(self, ns):
        found = {}
        for answer in self.call("Content", "List", ns=ns, stream=True):
            for info in map(parse, answer.get(1, [])):
                found[text(info, 1)] = [num(info, 2), mapping(info, 5)]
        return found

    def ingests(self, ns):
        found = map(parse, self.call("Content", "ListStatuses", ns=ns).get(1, []))
        return {text(s, 3): num(s, 4) for s in found}

    def snapshots(self, ns, snapshotter):
        found = {}
        for answer in self.call("Snapshots", "List", (1, snapshotter), ns=ns, stream=True):
            for info in map(parse, answer.get(1, [])):
                found[text(info, 1)] = [text(info, 2), num(info, 3), mapping(info, 6)]
        return found

    def all(self, snapshotters):
        """Everything that it shows, by namespace."""
        return {ns: {"labels": labels, "images": self.images(ns), "leases": self.leases(ns),
                     "containers": self.containers(ns), "sandboxes": self.sandboxes(ns),
                     "content": self.content(ns), "ingests": self.ingests(ns),
                     "snapshots": {s: self.snapshots(ns, s) for s in snapshotters}}
                for ns, labels in self.namespaces().items()}
