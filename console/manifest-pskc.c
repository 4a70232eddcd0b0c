/* The serial numbers of a PSKC file, and nothing else of it. */

#include "console/manifest.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <libxml/xmlreader.h>

#define NAMESPACE "urn:ietf:params:xml:ns:keyprov:pskc"

static void silent(void *arg, const char *message, xmlParserSeverities severity,
		   xmlTextReaderLocatorPtr locator)
{
	(void)arg;
	(void)message;
	(void)severity;
	(void)locator;
}

static bool is(xmlTextReaderPtr reader, const char *name)
{
	const xmlChar *space = xmlTextReaderConstNamespaceUri(reader),
		      *local = xmlTextReaderConstLocalName(reader);

	return space && local && strcmp((const char *)space, NAMESPACE) == 0 &&
	       strcmp((const char *)local, name) == 0;
}

static void read_serial(struct manifest *m, xmlTextReaderPtr reader)
{
	int line = xmlTextReaderGetParserLineNumber(reader);
	xmlChar *serial = xmlTextReaderReadString(reader);

	(void)manifest_add(m, (size_t)line, serial ? (const char *)serial : "", "", NULL, "");
	xmlFree(serial);
}

static void wrong(struct manifest *m, int line, const char *what)
{
	m->errors++;
	m->wrong(m->arg, line > 0 ? (size_t)line : 0, what);
}

/* A device without a serial number cannot be named. */
static void end_package(struct manifest *m, xmlTextReaderPtr reader, size_t serials)
{
	if (serials != 1)
		wrong(m, xmlTextReaderGetParserLineNumber(reader),
		      "this key package has no serial number, or more than one");
}

static int walk(struct manifest *m, xmlTextReaderPtr reader)
{
	size_t serials = 0;
	bool root = true;
	int r;

	while ((r = xmlTextReaderRead(reader)) == 1) {
		int type = xmlTextReaderNodeType(reader);

		if (type == XML_READER_TYPE_DOCUMENT_TYPE)
			return -EINVAL;
		if (type == XML_READER_TYPE_ELEMENT && root) {
			if (!is(reader, "KeyContainer"))
				return -EINVAL;
			root = false;
		} else if (type == XML_READER_TYPE_ELEMENT && is(reader, "KeyPackage")) {
			serials = 0;
			if (xmlTextReaderIsEmptyElement(reader))
				end_package(m, reader, serials);
		} else if (type == XML_READER_TYPE_ELEMENT && is(reader, "SerialNo")) {
			serials++;
			read_serial(m, reader);
		} else if (type == XML_READER_TYPE_END_ELEMENT && is(reader, "KeyPackage")) {
			end_package(m, reader, serials);
		}
	}
	return r == 0 && !root ? 0 : -EINVAL;
}

int manifest_pskc(struct manifest *m, struct bytes text)
{
	xmlTextReaderPtr reader = xmlReaderForMemory((const char *)text.data, (int)text.size, NULL,
						     NULL, XML_PARSE_NONET | XML_PARSE_NOCDATA);
	int r;

	if (!reader)
		return -ENOMEM;
	xmlTextReaderSetErrorHandler(reader, silent, NULL);
	r = walk(m, reader);
	if (r != 0)
		wrong(m, xmlTextReaderGetParserLineNumber(reader),
		      "this is no PSKC file (RFC 6030), or it is damaged here");
	xmlFreeTextReader(reader);
	return 0;
}
