/*
 * Gives every row macro of messages.def that the includer did not define an empty meaning. It has
 * no include guard on purpose: it is included before each reading of the table.
 */
#ifndef GROUP_BEGIN
#define GROUP_BEGIN(id, xml)
#endif
#ifndef GROUP_END
#define GROUP_END(id)
#endif
#ifndef MESSAGE_BEGIN
#define MESSAGE_BEGIN(id, xml, directions, needs)
#endif
#ifndef MESSAGE_END
#define MESSAGE_END(id)
#endif
#ifndef ENTITY
#define ENTITY(owner, id, xml, occurs)
#endif
#ifndef USER
#define USER(owner, id, xml, occurs)
#endif
#ifndef TEXT
#define TEXT(owner, id, xml, min, max, occurs)
#endif
#ifndef HEX
#define HEX(owner, id, xml, min, max, occurs)
#endif
#ifndef UINT
#define UINT(owner, id, xml, min, max)
#endif
#ifndef ENUM
#define ENUM(owner, id, xml, type)
#endif
#ifndef SUB
#define SUB(owner, id, group, occurs)
#endif
#ifndef LIST
#define LIST(owner, id, group, min, max)
#endif
