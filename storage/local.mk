# storage
libpngw_la_SOURCES += \
	storage/anchor.c storage/anchor-file.c storage/anchor.h \
	storage/ledger.c storage/ledger.h \
	storage/ledger-check.c storage/ledger-check.h \
	storage/library.c storage/library.h \
	storage/record.c storage/record.h \
	storage/vault-sheet.c storage/vault-sheet.h \
	storage/vault.c storage/vault.h \
	storage/vault-alive.c \
	storage/vault-batch.c \
	storage/vault-create.c \
	storage/vault-file.c \
	storage/vault-internal.h \
	storage/vault-ledger.c storage/vault-ledger-open.c storage/vault-ledger-tail.c storage/vault-ledger.h \
	storage/vault-log.c \
	storage/vault-migrate.c \
	storage/vault-rows.c \
	storage/vault-scan.c \
	storage/vault-scrub.c \
	storage/vault-walk.c \
	storage/vault-key.c storage/vault-key.h \
	storage/vault-manage.c storage/vault-manage.h \
	storage/vault-rekey.c \
	storage/vault-backup.c storage/vault-backup.h storage/vault-restore.c \
	storage/vault-wrap.c storage/vault-wrap.h
EXTRA_DIST += doc/vault.md

bin_PROGRAMS += pngw-ledger
pngw_ledger_SOURCES = storage/ledger-tool.c
dist_man_MANS += doc/pngw-ledger.1 doc/pngw-vault.8
EXTRA_DIST += doc/ledger.md

sbin_PROGRAMS += pngw-vault
pngw_vault_SOURCES = storage/vault-tool.c
if TPM
libpngw_la_SOURCES += storage/anchor-tpm.c
endif
