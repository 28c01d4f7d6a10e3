// Package store is the database, with one door in: every write carries its
// entry in the audit log, and both commit together or not at all.
//
// Changes that wait at the same time are committed as a group: one transaction,
// one signed checkpoint, one flush to disk. Each package owns its tables and
// migrations; store knows only those of the log.
package store
