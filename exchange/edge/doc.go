// Package edge is the network face of a site: an SFTP server inside mutual
// TLS for partners, and a sender that brings files to partners who have an
// address. It knows partners by their pinned keys, holds no private key but
// its host's, opens no database and reads no file's content: everything that
// passes is OpenPGP ciphertext. It meets the rest of the site only in a spool
// folder, so that it can run in the site's process or as its own process, user
// or machine.
//
// It imports no other package of this module; a test sees to that.
package edge
