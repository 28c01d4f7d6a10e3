// Package crash has the processes of a whole factory die at every step that
// outlives them, and has each step fail, and checks each time that the journey of
// an order ends with books that balance.
package crash
