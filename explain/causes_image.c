/* SPDX-License-Identifier: Apache-2.0 */
/* An image that is named in the store: documents, platform, layers, snapshots, labels. */
#include <string.h>

#include "base/mem.h"
#include "explain/finding.h"

static void platform_text(const struct oci_platform *p, char out[64])
{
	oci_platform_format(p, out, 64);
}

/* ---- record and documents ------------------------------------------------------------------- */

void explain_record(const struct explain_facts *f, struct explain_finding *out)
{
	K3_AUTO_FREE char *name = f->name ? doctor_quote(f->name) : NULL;

	if (!f->image.record_trouble)
		return;
	explain_say(out, EXPLAIN_STOPS, "the record of %s cannot be read: %s", f->name,
		    f->image.record_trouble);
	/* Nothing of ours edits a record that it does not understand. */
	explain_run_this(out, "ctr --namespace k8s.io images rm %s", name);
}

void explain_document(const struct explain_facts *f, struct explain_finding *out)
{
	if (!f->image.document_trouble || !f->image.document_missing)
		return;
	explain_say(out, EXPLAIN_STOPS, "the name is there, and %s", f->image.document_trouble);
	explain_fix_store(f, out, "repair", "", f->name);
}

void explain_damaged(const struct explain_facts *f, struct explain_finding *out)
{
	if (!f->image.document_trouble || f->image.document_missing)
		return;
	explain_say(out, EXPLAIN_STOPS, "what the image consists of cannot be read: %s",
		    f->image.document_trouble);
	explain_fix_store(f, out, "repair", "", f->name);
}

/* ---- platform ------------------------------------------------------------------------------- */

/* The image again, for this node. */
static void for_node(const struct explain_facts *f, struct explain_finding *out)
{
	char have[64];

	platform_text(&f->node->platform, have);
	K3_AUTO_FREE char *words = k3_xasprintf(" --platform %s", have);

	explain_fix_store(f, out, "preload", words, f->pod->image.s);
}

void explain_platform(const struct explain_facts *f, struct explain_finding *out)
{
	char want[64];

	if (!f->image.offers && !(f->image.read && f->image.rank < 0))
		return;
	platform_text(&f->image.platform, want);
	const char *offers = f->image.offers ? f->image.offers : want;

	platform_text(&f->node->platform, want);
	explain_say(out, EXPLAIN_STOPS,
		    "the node is %s, and the image in the store is not for it: there is %s", want,
		    offers);
	for_node(f, out);
}

void explain_variant(const struct explain_facts *f, struct explain_finding *out)
{
	char have[64], want[64];

	if (!f->image.read || f->image.rank <= 0)
		return;
	platform_text(&f->image.platform, have);
	platform_text(&f->node->platform, want);
	explain_say(out, EXPLAIN_WARNS,
		    "the image is for %s, which a node of %s takes as the next best", have, want);
	for_node(f, out);
}

/* ---- layers and snapshots ------------------------------------------------------------------- */

/* What containerd needs to make the snapshot itself, when the container is created. */
static bool must_unpack(const struct explain_facts *f)
{
	return f->image.read && !f->image.snapshot_trouble && !f->image.for_configured;
}

static bool is_native(const struct explain_facts *f)
{
	const char *name = explain_snapshotter(f->node);

	return !name || !strcmp(name, IMP_SNAPSHOTTER);
}

void explain_layers(const struct explain_facts *f, struct explain_finding *out)
{
	if (!must_unpack(f) || !f->image.missing)
		return;
	explain_say(out, EXPLAIN_STOPS,
		    "it is not unpacked, and %zu of its %zu layers are not in the store",
		    f->image.missing, f->image.layers);
	explain_fix_store(f, out, "repair", "", f->name);
}

void explain_not_unpacked(const struct explain_facts *f, struct explain_finding *out)
{
	if (!must_unpack(f) || f->image.snapshotters || f->image.missing || !is_native(f))
		return;
	explain_say(out, EXPLAIN_WARNS,
		    "it is not unpacked: containerd unpacks %zu layers when the first container "
		    "is created",
		    f->image.layers);
	explain_fix_stored(f, out);
}

void explain_snapshot(const struct explain_facts *f, struct explain_finding *out)
{
	if (!f->image.snapshot_trouble)
		return;
	explain_say(out, EXPLAIN_STOPS,
		    "it is recorded as unpacked, and its snapshot is not there: %s",
		    f->image.snapshot_trouble);
	explain_fix_store(f, out, "repair", "", f->name);
}

void explain_other_snapshotter(const struct explain_facts *f, struct explain_finding *out)
{
	const char *configured = explain_snapshotter(f->node);

	if (!must_unpack(f) || f->image.missing || (!f->image.snapshotters && is_native(f)))
		return;
	explain_say(out, EXPLAIN_WARNS,
		    "CRI uses %s, and the image is unpacked for %s: containerd unpacks it again "
		    "when the first container is created",
		    configured ? configured : IMP_SNAPSHOTTER,
		    f->image.snapshotters ? f->image.snapshotters : "none");
	if (is_native(f))
		explain_fix_stored(f, out);
	else
		explain_fix_snapshotter(f, out);
}

/* ---- labels --------------------------------------------------------------------------------- */

void explain_unmanaged(const struct explain_facts *f, struct explain_finding *out)
{
	bool live = f->node->d.store == DOCTOR_STORE_LIVE;

	if (!f->image.stored || f->image.managed)
		return;
	explain_say(out, EXPLAIN_WARNS, "%s has no label of CRI's: %s", f->name,
		    live ? "containerd runs and has not taken it in"
			 : "containerd takes it in only when it starts and all of it is there");
	explain_fix_store(f, out, "preload", "", f->pod->image.s);
}

static unsigned percent_used(const struct host_space *s)
{
	return s->bytes ? (unsigned)((s->bytes - s->free) * 100 / s->bytes) : 0;
}

void explain_collected(const struct explain_facts *f, struct explain_finding *out)
{
	const struct doctor_facts *d = &f->node->d;
	unsigned high = d->host.kubelet.present ? d->host.kubelet.gc_high : 85;

	if (!f->image.stored || f->image.pinned || high >= 100)
		return;
	explain_say(out, EXPLAIN_WARNS,
		    "it is not pinned: from %u %% of the disk on (now %u %%) the kubelet removes "
		    "images that no container uses",
		    high, percent_used(&d->space));
	explain_fix_stored(f, out);
}
