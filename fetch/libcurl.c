/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/libcurl.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Like the library itself there is one in a process; it is set once and stays. */
static _Atomic(struct libcurl *) loaded;

static const char *const names[] = {
#define X(name) "curl_" #name,
	LIBCURL_FUNCTIONS(X)
#undef X
};

/* POSIX has functions and data of one size, and ISO C no cast between pointers to them. */
_Static_assert(sizeof(struct libcurl) == K3_ARRAY_LEN(names) * sizeof(void *),
	       "one pointer for each name");

static int find_functions(void *library, struct libcurl *out, struct k3_err *e)
{
	for (size_t i = 0; i < K3_ARRAY_LEN(names); i++) {
		void *found = dlsym(library, names[i]);

		if (!found) {
			k3_fail(e, K3_UNSUPPORTED, "%s has no function %s", LIBCURL_SONAME,
				names[i]);
			return k3_hint(e, "install libcurl 7.88 or newer");
		}
		memcpy((char *)out + i * sizeof(found), &found, sizeof(found));
	}
	return 0;
}

int libcurl_load(struct k3_err *e)
{
	struct libcurl *none = NULL;

	if (atomic_load_explicit(&loaded, memory_order_acquire))
		return 0;
	void *library = dlopen(LIBCURL_SONAME, RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		k3_fail(e, K3_UNSUPPORTED, "registries need libcurl: %s", dlerror());
		return k3_hint(e, "install it: apt-get install libcurl4");
	}
	struct libcurl *found = k3_xcalloc(1, sizeof(*found));

	if (find_functions(library, found, e)) {
		free(found);
		dlclose(library);
		return -1;
	}
	/* Another thread may have been quicker; the library counts who has opened it. */
	if (!atomic_compare_exchange_strong(&loaded, &none, found))
		free(found);
	return 0;
}

const struct libcurl *libcurl(void)
{
	const struct libcurl *l = atomic_load_explicit(&loaded, memory_order_acquire);
	struct k3_err e;

	if (l)
		return l;
	if (libcurl_load(&e))
		abort();
	return atomic_load_explicit(&loaded, memory_order_acquire);
}
