/* Ends a reading of messages.def; no include guard on purpose. */
#undef GROUP_BEGIN
#undef GROUP_END
#undef MESSAGE_BEGIN
#undef MESSAGE_END
#undef ENTITY
#undef USER
#undef TEXT
#undef HEX
#undef UINT
#undef ENUM
#undef SUB
#undef LIST
