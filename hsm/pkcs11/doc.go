// Package pkcs11 is a security module behind PKCS #11 v2.40: an HSM with its
// vendor's library, or SoftHSM for trying. What differs between vendors is in
// Config, not in code.
//
// The library is C. A build with CGO_ENABLED=0, which is the usual one, has the
// package, and Open refuses; make build-pkcs11 builds the other.
//
// # What lies in the token
//
// Each key is one key object, private, sensitive and with no use but the one of
// its purpose, and one data object, its record. Only keys whose purpose Exports
// and that were generated here can be extracted, wrapped; and an OP, which is
// read for each order whether or not it may leave. The record of a destroyed
// key stays for ever as a tombstone. Public keys are in the records. Everything
// else in the token is left alone.
//
// # Where clear keys stand in our memory
//
// Each of these for one call, wiped before it returns:
//
//   - NewDataKey, OpenDataKey, GiveDataKey, TakeDataKey: the data key. What
//     NewDataKey and OpenDataKey return works here until it is closed: it is the
//     one key that does its work outside of the token.
//   - Translate: the records of one call into the token, up to 64 KiB.
//   - OP: the OP, until it is closed.
//   - ChipKeys: the keys of one chip, until they are closed; the lot's master key
//     stays in the token.
//   - Whatever opens an envelope of hsm.Give: the shared secret of ECDH, because
//     PKCS #11 v2.40 has no HKDF, and the key in the envelope.
//   - GiveKey, TakeKey, Import, and Export by TR-31, RSA-OAEP and ECDH: the key.
//     Export by AES-KW and AES-KWP does not bring it out.
//   - Combine, CheckComponent, Split: components and the key. The token has no XOR
//     that is common (CKM_XOR_BASE_AND_DATA takes its other half in the clear).
//   - GenerateShared, CheckShare, Restore: shares and the key.
//   - Decrypter: what was encrypted, with its padding where the token computes bare
//     RSA.
//   - Where Config.Mechanisms says that the token has no AES-KWP: Export and Import
//     by it, and the shared secret of ECDH is not sensitive in its session.
//
// All of them but the records, what a Decrypter gives and the last come out of
// the token and go into it wrapped under a session key, see window in the
// source, so that no argument of a PKCS #11 call is a clear key. The binding
// copies arguments through memory of C and frees it without wiping it: that
// holds the PIN for a moment, and what Translate and a Decrypter decrypt.
package pkcs11
