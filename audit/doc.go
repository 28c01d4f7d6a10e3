// Package audit is a log that cannot lie: entries in a Merkle tree (RFC 6962,
// C2SP tlog-tiles) under signed checkpoints. It is pure: it reads and proves
// what is given to it, and keeps nothing itself.
package audit
