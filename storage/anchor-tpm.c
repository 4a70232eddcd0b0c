/*
 * An anchor in an NV index of a TPM 2.0: tpm:HANDLE or tpm:HANDLE,TCTI, where TCTI says how to
 * reach the TPM as tpm2-tss writes it ("device:/dev/tpmrm0"); without it tpm2-tss looks for one.
 *
 * The index is defined in the owner's hierarchy, whose authorization must be empty then; afterwards
 * it is not needed. Reading and writing the index takes its own authorization, which comes from
 * the vault's keys: without the vault nobody writes an older statement to it.
 */

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tss2/tss2_esys.h>
#include <tss2/tss2_tctildr.h>

#include "storage/anchor.h"

/* Memory of this kind bears some 100 000 writes: at one an hour, more than ten years. */
#define INTERVAL_S 3600

#define NO_SESSIONS ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE
#define BY_PASSWORD ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE

#define ATTRIBUTES                                              \
	(TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE | TPMA_NV_NO_DA | \
	 (TPM2_NT_ORDINARY << TPMA_NV_TPM2_NT_SHIFT))

struct anchor_tpm {
	TPM2_HANDLE handle;
	char *tcti; /* NULL: the default */
	struct secret *auth;
};

/* One conversation: the device is not held in between. */
struct talk {
	TSS2_TCTI_CONTEXT *tcti;
	ESYS_CONTEXT *esys;
	ESYS_TR index; /* ESYS_TR_NONE while it is not defined */
	bool written;
};

/*
 * tpm2-tss, with libcrypto behind it, is loaded when the first anchor of this kind is opened: with
 * it the dynamic linker would take twice as long for every start, and few boxes have such an
 * anchor.
 */
#define ESYS_LIBRARY   "libtss2-esys.so.0"
#define LOADER_LIBRARY "libtss2-tctildr.so.0"
#define CALLS(X)                 \
	X(Esys_Finalize)         \
	X(Esys_Free)             \
	X(Esys_GetCapability)    \
	X(Esys_Initialize)       \
	X(Esys_NV_DefineSpace)   \
	X(Esys_NV_Read)          \
	X(Esys_NV_ReadPublic)    \
	X(Esys_NV_Write)         \
	X(Esys_TR_Close)         \
	X(Esys_TR_FromTPMPublic) \
	X(Esys_TR_SetAuth)       \
	X(Tss2_TctiLdr_Finalize) \
	X(Tss2_TctiLdr_Initialize)

static struct {
#define X(name) __typeof__(&name) name;
	CALLS(X)
#undef X
} tss;

static pthread_once_t loaded = PTHREAD_ONCE_INIT;
static char load_failure[256]; /* "" when all are there */

static void load_libraries(void)
{
	static const struct {
		const char *name;
		void *where;
	} calls[] = {
#define X(name) {#name, &tss.name},
		CALLS(X)
#undef X
	};
	void *esys = dlopen(ESYS_LIBRARY, RTLD_NOW | RTLD_LOCAL);
	void *loader = esys ? dlopen(LOADER_LIBRARY, RTLD_NOW | RTLD_LOCAL) : NULL;
	const char *why = loader ? NULL : dlerror();

	for (size_t i = 0; !why && i < sizeof(calls) / sizeof(calls[0]); i++) {
		void *call = dlsym(calls[i].name[0] == 'E' ? esys : loader, calls[i].name);

		if (!call)
			why = dlerror();
		memcpy(calls[i].where, &call, sizeof(call));
	}
	if (why)
		(void)snprintf(load_failure, sizeof(load_failure), "%s", why);
}

static int error_of(TSS2_RC r)
{
	return r == TSS2_RC_SUCCESS ? 0 : r == TSS2_ESYS_RC_MEMORY ? -ENOMEM : -EIO;
}

static void close_tpm(void *context)
{
	struct anchor_tpm *t = context;

	secret_unref(t->auth);
	free(t->tcti);
	free(t);
}

static int open_tpm(const char *place, struct secret *auth, void **context, char *why,
		    size_t why_size)
{
	const char *comma = strchr(place, ',');
	struct anchor_tpm *t;
	char *end = NULL;
	unsigned long handle = strtoul(place, &end, 16);

	/* The handles that an owner may choose: TCG's registry of reserved handles. */
	if (end == place || (*end != '\0' && end != comma) || handle < 0x01000000 ||
	    handle > 0x01bfffff) {
		snprintf(why, why_size,
			 "anchor tpm:%s: not the handle of an NV index, 0x01000000 to 0x01bfffff",
			 place);
		return ANCHOR_UNKNOWN;
	}
	(void)pthread_once(&loaded, load_libraries);
	if (load_failure[0]) {
		snprintf(why, why_size, "anchor tpm:%s: no tpm2-tss here: %s", place, load_failure);
		return ANCHOR_UNKNOWN;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->handle = (TPM2_HANDLE)handle;
	t->auth = secret_ref(auth);
	t->tcti = comma ? strdup(comma + 1) : NULL;
	if (comma && !t->tcti) {
		close_tpm(t);
		return -ENOMEM;
	}
	*context = t;
	return 0;
}

static void hang_up(struct talk *k)
{
	if (k->esys && k->index != ESYS_TR_NONE)
		(void)tss.Esys_TR_Close(k->esys, &k->index);
	if (k->esys)
		tss.Esys_Finalize(&k->esys);
	if (k->tcti)
		tss.Tss2_TctiLdr_Finalize(&k->tcti);
}

/* Whether the index is defined: asked so that the answer no is no error. */
static int look_up(const struct anchor_tpm *t, struct talk *k, bool *defined)
{
	TPMS_CAPABILITY_DATA *found = NULL;
	TPMI_YES_NO more = TPM2_NO;
	TSS2_RC r = tss.Esys_GetCapability(k->esys, NO_SESSIONS, TPM2_CAP_HANDLES, t->handle, 1,
					   &more, &found);

	if (r != TSS2_RC_SUCCESS)
		return error_of(r);
	*defined = found->data.handles.count == 1 && found->data.handles.handle[0] == t->handle;
	tss.Esys_Free(found);
	return 0;
}

static void auth_of(const struct anchor_tpm *t, TPM2B_AUTH *out)
{
	struct bytes b = secret_bytes(t->auth);

	out->size = (UINT16)b.size;
	memcpy(out->buffer, b.data, b.size);
}

/* The index must be as we define it. ANCHOR_DAMAGED when it is something else. */
static int take_index(const struct anchor_tpm *t, struct talk *k)
{
	TPM2B_NV_PUBLIC *public = NULL;
	TPM2B_NAME *name = NULL;
	TPM2B_AUTH auth;
	TSS2_RC r = tss.Esys_TR_FromTPMPublic(k->esys, t->handle, NO_SESSIONS, &k->index);
	int result = 0;

	if (r == TSS2_RC_SUCCESS)
		r = tss.Esys_NV_ReadPublic(k->esys, k->index, NO_SESSIONS, &public, &name);
	if (r != TSS2_RC_SUCCESS)
		return error_of(r);
	k->written = (public->nvPublic.attributes & TPMA_NV_WRITTEN) != 0;
	if ((public->nvPublic.attributes & ~TPMA_NV_WRITTEN) != ATTRIBUTES ||
	    public->nvPublic.dataSize != ANCHOR_STATEMENT_SIZE)
		result = ANCHOR_DAMAGED;
	tss.Esys_Free(public);
	tss.Esys_Free(name);
	auth_of(t, &auth);
	if (result == 0)
		result = error_of(tss.Esys_TR_SetAuth(k->esys, k->index, &auth));
	wipe(&auth, sizeof(auth));
	return result;
}

static int call(const struct anchor_tpm *t, struct talk *k)
{
	bool defined = false;
	TSS2_RC rc;
	int r;

	*k = (struct talk){.index = ESYS_TR_NONE};
	if (tss.Tss2_TctiLdr_Initialize(t->tcti, &k->tcti) != TSS2_RC_SUCCESS)
		return -ENODEV;
	rc = tss.Esys_Initialize(&k->esys, k->tcti, NULL);
	if (rc != TSS2_RC_SUCCESS) {
		hang_up(k);
		return error_of(rc);
	}
	r = look_up(t, k, &defined);
	if (r == 0 && defined)
		r = take_index(t, k);
	if (r != 0)
		hang_up(k);
	return r;
}

static int define(const struct anchor_tpm *t, struct talk *k)
{
	TPM2B_NV_PUBLIC public = {
		.nvPublic = {.nvIndex = t->handle,
			     .nameAlg = TPM2_ALG_SHA256,
			     .attributes = ATTRIBUTES,
			     .dataSize = ANCHOR_STATEMENT_SIZE},
	};
	TPM2B_AUTH auth;
	TSS2_RC r;

	auth_of(t, &auth);
	r = tss.Esys_NV_DefineSpace(k->esys, ESYS_TR_RH_OWNER, BY_PASSWORD, &auth, &public,
				    &k->index);
	if (r == TSS2_RC_SUCCESS)
		r = tss.Esys_TR_SetAuth(k->esys, k->index, &auth);
	wipe(&auth, sizeof(auth));
	return error_of(r);
}

static int read_tpm(void *context, uint8_t statement[ANCHOR_STATEMENT_SIZE])
{
	const struct anchor_tpm *t = context;
	TPM2B_MAX_NV_BUFFER *data = NULL;
	struct talk k;
	TSS2_RC rc;
	int r = call(t, &k);

	if (r != 0)
		return r;
	if (k.index == ESYS_TR_NONE || !k.written) {
		hang_up(&k);
		return ANCHOR_ABSENT;
	}
	rc = tss.Esys_NV_Read(k.esys, k.index, k.index, BY_PASSWORD, ANCHOR_STATEMENT_SIZE, 0,
			      &data);
	r = error_of(rc);
	/* The index is of another vault. */
	if ((rc & ~(TSS2_RC)TPM2_RC_N_MASK & ~(TSS2_RC)TPM2_RC_S) == TPM2_RC_BAD_AUTH)
		r = ANCHOR_DAMAGED;
	if (r == 0 && data->size == ANCHOR_STATEMENT_SIZE)
		memcpy(statement, data->buffer, ANCHOR_STATEMENT_SIZE);
	else if (r == 0)
		r = ANCHOR_DAMAGED;
	tss.Esys_Free(data);
	hang_up(&k);
	return r;
}

static int write_tpm(void *context, const uint8_t statement[ANCHOR_STATEMENT_SIZE])
{
	const struct anchor_tpm *t = context;
	TPM2B_MAX_NV_BUFFER data = {.size = ANCHOR_STATEMENT_SIZE};
	struct talk k;
	int r = call(t, &k);

	if (r != 0)
		return r < 0 ? r : -EIO;
	if (k.index == ESYS_TR_NONE)
		r = define(t, &k);
	memcpy(data.buffer, statement, ANCHOR_STATEMENT_SIZE);
	if (r == 0)
		r = error_of(tss.Esys_NV_Write(k.esys, k.index, k.index, BY_PASSWORD, &data, 0));
	hang_up(&k);
	return r;
}

const struct anchor_kind anchor_kind_tpm = {
	.prefix = "tpm:",
	.interval = INTERVAL_S,
	.open = open_tpm,
	.close = close_tpm,
	.read = read_tpm,
	.write = write_tpm,
};
