// Package backup is a whole site in one file: its database row by row, and the
// files beside it, sealed so that some of several custodians open it together,
// and signed by the site. It is a format: what belongs into it, and where it
// goes, is the site's to say.
//
// A backup is
//
//	ankan backup 1          a line
//	header                  a line of JSON (Header), in clear
//	chunks                  each four bytes of length, whose first bit says that it
//	                        is the last one, and a block sealed by AES-256-GCM with
//	                        the header's SHA-256, its number and that bit beside it
//	manifest                a line: a signed document (Manifest)
//
// The chunks' content is a stream of records: a type, the number of its values,
// the values. A value is nothing, a whole number, text or bytes. Numbers are
// variable in length and as short as can be, so that what is read is written
// again byte for byte.
//
//	V name, version             the version of a schema; all of them first
//	T name, column...           a table begins
//	R value...                  one row
//	E rows                      it ends
//	F path, mode                a file begins
//	D bytes                     a piece of it
//	Z SHA-256                   it ends
//	M                           the end
package backup
