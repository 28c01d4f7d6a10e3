// Package cards tests our software card against other people's programs, as a
// card in a PC/SC reader: pcscd with the virtual reader vpcd, opensc-tool,
// pyscard, and eapol_test with hostapd, which authenticate it as a phone and a
// network do, with vectors of our own subscriber store and of osmo-hlr.
//
// vpcd listens on every address, and pcscd at one place of the file system. So
// the tests run in namespaces of their own: a network that is nothing but
// loopback, a /run of their own, and processes that end when the tests do.
package cards
