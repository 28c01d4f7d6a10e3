// Package exchange seals files for a partner and opens what partners send:
// OpenPGP messages, signed by the sender and encrypted to the receiver, whose
// private keys stay in a security module. It also reads and writes partner
// cards, the files by which two sites pin each other's keys.
//
// The network is not here: see exchange/edge, which never sees a private key
// of this package nor a decrypted byte.
package exchange
