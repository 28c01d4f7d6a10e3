// Package examples holds the order that the demonstration places, in the
// layout that the trade sends.
package examples

import _ "embed"

//go:embed order-1000.inp
var order []byte

// Order is an order for 1,000 cards, dialect 1.
func Order() []byte { return order }
