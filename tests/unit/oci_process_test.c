/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "oci/oci.h"

static int parse(const char *text, struct oci_process *p, struct k3_err *e)
{
	return oci_process_parse(text, strlen(text), p, e);
}

TEST(all_that_is_said)
{
	struct oci_process p;
	struct k3_err err;

	OK(parse("{\"config\": {\"Entrypoint\": [\"/run\", \"-x\"], \"Cmd\": [\"a\"], "
		 "\"Env\": [\"A=b\", \"PATH=/old\", \"PATH=/bin:/sbin\", \"PATHS=/no\"], "
		 "\"User\": \"app:staff\", \"WorkingDir\": \"/srv\"}}",
		 &p, &err));
	EQ_INT(p.entrypoint.n, 2);
	EQ_STR(p.entrypoint.v[0], "/run");
	EQ_STR(p.entrypoint.v[1], "-x");
	EQ_INT(p.command.n, 1);
	EQ_STR(p.path, "/bin:/sbin");
	EQ_STR(p.user, "app:staff");
	EQ_STR(p.workdir, "/srv");
	oci_process_release(&p);
}

TEST(nothing_is_said)
{
	static const char *const texts[] = { "{}", "{\"config\": null}", "{\"config\": {}}",
					     "{\"config\": {\"Entrypoint\": null, \"Cmd\": [], "
					     "\"Env\": null, \"User\": null}}" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct oci_process p;
		struct k3_err err;

		OK(parse(texts[i], &p, &err));
		EQ_INT(p.entrypoint.n + p.command.n, 0);
		EQ_STR(p.path, NULL);
		EQ_STR(p.user, "");
		EQ_STR(p.workdir, "");
		oci_process_release(&p);
	}
}

TEST(wrong_types)
{
	static const char *const texts[] = {
		"[]",
		"{\"config\": 1}",
		"{\"config\": {\"Entrypoint\": \"/run\"}}",
		"{\"config\": {\"Cmd\": [\"a\", 1]}}",
		"{\"config\": {\"Env\": {}}}",
		"{\"config\": {\"User\": 0}}",
		"{\"config\": {\"WorkingDir\": []}}",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct oci_process p;
		struct k3_err err;

		FAILS(parse(texts[i], &p, &err), K3_FORMAT);
		HAS_STR(err.msg, "config: ");
	}
}

UNIT_MAIN
