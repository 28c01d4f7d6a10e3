// Package factory tests the whole: the operator, the bureau and the plant of
// package demo run side by side, with their own stores, real files between them
// and software chips, and are treated badly.
package factory
