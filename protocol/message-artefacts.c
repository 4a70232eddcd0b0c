#include <errno.h>
#include <inttypes.h>

#include "protocol/message-table.h"

static int finish(FILE *out)
{
	return fflush(out) != 0 || ferror(out) ? -EIO : 0;
}

/* Sizes are bytes in the table and characters in XSD: UTF-8 has one to four bytes a character. */
static void xsd_text(FILE *out, const struct field *f)
{
	const char *constant = field_constant(f);

	if (constant) {
		(void)fprintf(out,
			      "\t\t\t\t\t<xs:restriction base=\"xs:string\">\n"
			      "\t\t\t\t\t\t<xs:enumeration value=\"%s\"/>\n"
			      "\t\t\t\t\t</xs:restriction>\n",
			      constant);
		return;
	}
	(void)fprintf(out,
		      "\t\t\t\t\t<xs:restriction base=\"Text\">\n"
		      "\t\t\t\t\t\t<xs:minLength value=\"%" PRIu32 "\"/>\n"
		      "\t\t\t\t\t\t<xs:maxLength value=\"%" PRIu32 "\"/>\n"
		      "\t\t\t\t\t</xs:restriction>\n",
		      (f->min + 3) / 4, f->max);
}

static void xsd_enum(FILE *out, const struct field *f)
{
	(void)fputs("\t\t\t\t\t<xs:restriction base=\"xs:string\">\n", out);
	for (size_t i = 0; f->names->rows[i].name; i++)
		(void)fprintf(out, "\t\t\t\t\t\t<xs:enumeration value=\"%s\"/>\n",
			      f->names->rows[i].name);
	(void)fputs("\t\t\t\t\t</xs:restriction>\n", out);
}

static void xsd_uint(FILE *out, const struct field *f)
{
	(void)fprintf(out,
		      "\t\t\t\t\t<xs:restriction base=\"Number\">\n"
		      "\t\t\t\t\t\t<xs:minInclusive value=\"%" PRIu32 "\"/>\n"
		      "\t\t\t\t\t\t<xs:maxInclusive value=\"%" PRIu32 "\"/>\n"
		      "\t\t\t\t\t</xs:restriction>\n",
		      f->min, f->max);
}

static void xsd_hex(FILE *out, const struct field *f)
{
	(void)fprintf(out,
		      "\t\t\t\t\t<xs:restriction base=\"xs:hexBinary\">\n"
		      "\t\t\t\t\t\t<xs:minLength value=\"%" PRIu32 "\"/>\n"
		      "\t\t\t\t\t\t<xs:maxLength value=\"%" PRIu32 "\"/>\n"
		      "\t\t\t\t\t</xs:restriction>\n",
		      f->min, f->max);
}

/* An element with a named type. */
static void xsd_named(FILE *out, const struct field *f, const char *type, uint32_t least,
		      uint32_t most)
{
	(void)fprintf(out, "\t\t\t<xs:element name=\"%s\" type=\"%s\"", field_name(f), type);
	if (least != 1)
		(void)fprintf(out, " minOccurs=\"%" PRIu32 "\"", least);
	if (most != 1)
		(void)fprintf(out, " maxOccurs=\"%" PRIu32 "\"", most);
	(void)fputs("/>\n", out);
}

static void xsd_inline(FILE *out, const struct field *f,
		       void (*restriction)(FILE *out, const struct field *f))
{
	(void)fprintf(out, "\t\t\t<xs:element name=\"%s\"%s>\n\t\t\t\t<xs:simpleType>\n", f->xml,
		      f->occurs == OCCURS_OPT ? " minOccurs=\"0\"" : "");
	restriction(out, f);
	(void)fputs("\t\t\t\t</xs:simpleType>\n\t\t\t</xs:element>\n", out);
}

static void xsd_field(FILE *out, const struct field *f)
{
	uint32_t least = f->occurs == OCCURS_OPT ? 0 : 1;

	switch (f->type) {
	case FIELD_ENVELOPE:
	case FIELD_SUB:
		xsd_named(out, f, f->group->xml, least, 1);
		return;
	case FIELD_LIST:
		xsd_named(out, f, f->group->xml, f->min, f->max);
		return;
	case FIELD_ENTITY:
		xsd_named(out, f, "EntityIDType", least, 1);
		return;
	case FIELD_USER:
		xsd_named(out, f, "UserIDType", least, 1);
		return;
	case FIELD_TEXT:
		xsd_inline(out, f, xsd_text);
		return;
	case FIELD_HEX:
		xsd_inline(out, f, xsd_hex);
		return;
	case FIELD_UINT:
		xsd_inline(out, f, xsd_uint);
		return;
	case FIELD_ENUM:
		xsd_inline(out, f, xsd_enum);
		return;
	}
}

static void xsd_group(FILE *out, const struct group *g)
{
	bool choice = false;

	(void)fprintf(out, "\t<xs:complexType name=\"%s\">\n\t\t<xs:sequence>\n", g->xml);
	for (size_t i = 0; i < g->field_count; i++) {
		bool alternative = g->fields[i].occurs == OCCURS_ALT;

		if (alternative && !choice)
			(void)fputs("\t\t\t<xs:choice minOccurs=\"0\">\n", out);
		if (!alternative && choice)
			(void)fputs("\t\t\t</xs:choice>\n", out);
		choice = alternative;
		xsd_field(out, &g->fields[i]);
	}
	if (choice)
		(void)fputs("\t\t\t</xs:choice>\n", out);
	(void)fputs("\t\t</xs:sequence>\n\t</xs:complexType>\n", out);
}

int message_write_xsd(FILE *out)
{
	(void)fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		    "<!-- Made from protocol/messages.def by protocol/make-artefacts; change that. "
		    "-->\n"
		    "<xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" "
		    "xmlns=\"" MESSAGE_NAMESPACE "\"\n\t\ttargetNamespace=\"" MESSAGE_NAMESPACE
		    "\" elementFormDefault=\"qualified\">\n"
		    "\t<xs:simpleType name=\"EntityIDType\">\n"
		    "\t\t<xs:restriction base=\"xs:string\">\n"
		    "\t\t\t<xs:pattern value=\"[A-Za-z0-9._:\\-]{1,64}\"/>\n"
		    "\t\t</xs:restriction>\n"
		    "\t</xs:simpleType>\n"
		    "\t<xs:simpleType name=\"UserIDType\">\n"
		    "\t\t<xs:restriction base=\"xs:string\">\n"
		    "\t\t\t<xs:pattern value=\"[^ :&quot;\\\\\\p{Cc}]"
		    "([^:&quot;\\\\\\p{Cc}]{0,62}[^ :&quot;\\\\\\p{Cc}])?\"/>\n"
		    "\t\t</xs:restriction>\n"
		    "\t</xs:simpleType>\n"
		    "\t<xs:simpleType name=\"Text\">\n"
		    "\t\t<xs:restriction base=\"xs:string\">\n"
		    "\t\t\t<xs:pattern value=\"\\P{Cc}*\"/>\n"
		    "\t\t</xs:restriction>\n"
		    "\t</xs:simpleType>\n"
		    "\t<xs:simpleType name=\"Number\">\n"
		    "\t\t<xs:restriction base=\"xs:unsignedInt\">\n"
		    "\t\t\t<xs:pattern value=\"0|[1-9][0-9]*\"/>\n"
		    "\t\t</xs:restriction>\n"
		    "\t</xs:simpleType>\n",
		    out);
	for (size_t i = 0; message_group(i); i++)
		xsd_group(out, message_group(i));
	for (unsigned k = 0; k < MESSAGE_KINDS; k++)
		xsd_group(out, &message_row((enum message_kind)k)->group);
	for (unsigned k = 0; k < MESSAGE_KINDS; k++)
		(void)fprintf(out, "\t<xs:element name=\"%s\" type=\"%s\"/>\n",
			      message_name((enum message_kind)k),
			      message_name((enum message_kind)k));
	(void)fputs("</xs:schema>\n", out);
	return finish(out);
}

static void markdown_occurs(FILE *out, const struct field *f)
{
	if (f->type == FIELD_LIST) {
		(void)fprintf(out, "%" PRIu32 " to %" PRIu32, f->min, f->max);
		return;
	}
	switch (f->occurs) {
	case OCCURS_ONE:
		(void)fputs("1", out);
		return;
	case OCCURS_OPT:
		(void)fputs("0 or 1", out);
		return;
	case OCCURS_ALT:
		(void)fputs("alternative", out);
		return;
	}
}

static void markdown_bytes(FILE *out, const char *what, const struct field *f)
{
	if (f->min == f->max)
		(void)fprintf(out, "%s, %" PRIu32 " bytes", what, f->min);
	else
		(void)fprintf(out, "%s, %" PRIu32 " to %" PRIu32 " bytes", what, f->min, f->max);
}

static void markdown_value(FILE *out, const struct field *f)
{
	switch (f->type) {
	case FIELD_ENVELOPE:
	case FIELD_SUB:
	case FIELD_LIST:
		(void)fputs("group, see below", out);
		return;
	case FIELD_ENTITY:
		(void)fputs("Entity ID", out);
		return;
	case FIELD_USER:
		(void)fputs("User ID", out);
		return;
	case FIELD_TEXT:
		if (field_constant(f))
			(void)fprintf(out, "`%s`", field_constant(f));
		else
			markdown_bytes(out, "text", f);
		return;
	case FIELD_HEX:
		markdown_bytes(out, "hex", f);
		return;
	case FIELD_UINT:
		if (f->min == f->max)
			(void)fprintf(out, "`%" PRIu32 "`", f->min);
		else
			(void)fprintf(out, "number, %" PRIu32 " to %" PRIu32, f->min, f->max);
		return;
	case FIELD_ENUM:
		for (size_t i = 0; f->names->rows[i].name; i++)
			(void)fprintf(out, "%s`%s`", i > 0 ? ", " : "", f->names->rows[i].name);
		return;
	}
}

static void markdown_fields(FILE *out, const struct group *g)
{
	(void)fputs("\n| element | occurs | value |\n|---|---|---|\n", out);
	for (size_t i = 0; i < g->field_count; i++) {
		(void)fprintf(out, "| %s | ", field_name(&g->fields[i]));
		markdown_occurs(out, &g->fields[i]);
		(void)fputs(" | ", out);
		markdown_value(out, &g->fields[i]);
		(void)fputs(" |\n", out);
	}
	(void)fputs("\n", out);
}

static void markdown_message(FILE *out, const struct message_row *row)
{
	static const struct {
		unsigned flag;
		const char *text;
	} directions[] = {{GW_TO_SERVER, "PN GW → server"},
			  {SERVER_TO_GW, "server → PN GW"},
			  {GW_TO_PNE, "PN GW → PNE"},
			  {PNE_TO_GW, "PNE → PN GW"}};
	const char *before = "\n";

	(void)fprintf(out, "### %s\n", row->group.xml);
	for (size_t i = 0; i < sizeof(directions) / sizeof(directions[0]); i++) {
		if ((row->directions & directions[i].flag) == 0)
			continue;
		(void)fprintf(out, "%s%s", before, directions[i].text);
		before = "; ";
	}
	switch (row->needs) {
	case NEEDS_NOTHING:
		break;
	case NEEDS_MUTUAL:
		(void)fputs(". Only over a mutually authenticated connection", out);
		break;
	case NEEDS_SECURE_PAN:
		(void)fputs(". Only over a secure PAN", out);
		break;
	}
	(void)fputs(".\n", out);
	markdown_fields(out, &row->group);
}

int message_write_markdown(FILE *out)
{
	(void)fputs(
		"# Messages\n\n"
		"Made from `protocol/messages.def` by `protocol/make-artefacts`; change that.\n\n"
		"Namespace `" MESSAGE_NAMESPACE
		"`. Elements stand in the order of these tables. Sizes are bytes of the value,\n"
		"for hex the bytes that the digits stand for. Of elements marked "
		"\"alternative\" that stand\ntogether at most one is there.\n\n"
		"## Root elements\n\n",
		out);
	for (unsigned k = 0; k < MESSAGE_KINDS; k++)
		markdown_message(out, message_row((enum message_kind)k));
	(void)fputs("## Groups\n\n", out);
	for (size_t i = 0; message_group(i); i++) {
		(void)fprintf(out, "### %s\n", message_group(i)->xml);
		markdown_fields(out, message_group(i));
	}
	return finish(out);
}

static void dictionary_group(FILE *out, const struct group *g)
{
	(void)fprintf(out, "\"<%s\"\n\"</%s>\"\n", g->xml, g->xml);
	for (size_t i = 0; i < g->field_count; i++) {
		const struct field *f = &g->fields[i];

		if (field_is_group(f))
			continue;
		(void)fprintf(out, "\"<%s>\"\n\"</%s>\"\n", f->xml, f->xml);
		for (size_t n = 0; f->names && f->names->rows[n].name; n++)
			(void)fprintf(out, "\"%s\"\n", f->names->rows[n].name);
	}
}

int message_write_dictionary(FILE *out)
{
	(void)fputs("# Made from protocol/messages.def by protocol/make-artefacts; change that.\n"
		    "\" xmlns=\\\"" MESSAGE_NAMESPACE "\\\">\"\n"
		    "\"" MESSAGE_PROFILE "\"\n"
		    "\"<?xml version=\\\"1.0\\\" encoding=\\\"UTF-8\\\"?>\"\n"
		    "\"<!DOCTYPE \"\n\"<!ENTITY \"\n\"<!--\"\n\"-->\"\n\"<![CDATA[\"\n\"]]>\"\n"
		    "\"&amp;\"\n\"&#x\"\n\"\\xef\\xbb\\xbf\"\n\"4294967295\"\n",
		    out);
	for (size_t i = 0; message_group(i); i++)
		dictionary_group(out, message_group(i));
	for (unsigned k = 0; k < MESSAGE_KINDS; k++)
		dictionary_group(out, &message_row((enum message_kind)k)->group);
	return finish(out);
}
