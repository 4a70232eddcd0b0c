# Fuzzers (configure --enable-fuzz CC=clang), and a program that replays their corpora with any compiler.
FUZZ_SOURCES = tests/fuzz/fuzz.h tests/fuzz/message.c tests/fuzz/frame.c tests/fuzz/link.c \
	tests/fuzz/digest.c tests/fuzz/bundle.c

check_PROGRAMS += tests/test-fuzz-corpus
tests_test_fuzz_corpus_SOURCES = tests/test-fuzz-corpus.c $(FUZZ_SOURCES)
tests_test_fuzz_corpus_CPPFLAGS = $(TEST_CPPFLAGS)
tests_test_fuzz_corpus_LDADD = $(TEST_LIBS)

if FUZZ
noinst_PROGRAMS += tests/fuzz/fuzz-message tests/fuzz/fuzz-frame tests/fuzz/fuzz-link \
	tests/fuzz/fuzz-digest tests/fuzz/fuzz-bundle
tests_fuzz_fuzz_message_SOURCES = tests/fuzz/entry.c tests/fuzz/fuzz.h tests/fuzz/message.c
tests_fuzz_fuzz_message_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_FUNCTION=fuzz_message
tests_fuzz_fuzz_message_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_frame_SOURCES = tests/fuzz/entry.c tests/fuzz/fuzz.h tests/fuzz/frame.c
tests_fuzz_fuzz_frame_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_FUNCTION=fuzz_frame
tests_fuzz_fuzz_frame_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_link_SOURCES = tests/fuzz/entry.c tests/fuzz/fuzz.h tests/fuzz/link.c
tests_fuzz_fuzz_link_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_FUNCTION=fuzz_link
tests_fuzz_fuzz_link_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_digest_SOURCES = tests/fuzz/entry.c tests/fuzz/fuzz.h tests/fuzz/digest.c
tests_fuzz_fuzz_digest_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_FUNCTION=fuzz_digest
tests_fuzz_fuzz_digest_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_bundle_SOURCES = tests/fuzz/entry.c tests/fuzz/fuzz.h tests/fuzz/bundle.c
tests_fuzz_fuzz_bundle_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_FUNCTION=fuzz_bundle
tests_fuzz_fuzz_bundle_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
endif

EXTRA_DIST += tests/fuzz/corpus tests/fuzz/cpns.dict tests/fuzz/make-seeds tests/run-fuzz
