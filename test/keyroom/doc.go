// Package keyroom tests ceremonies as people do them: each in a browser of
// their own, with a passkey of their own, at a site that runs.
package keyroom
