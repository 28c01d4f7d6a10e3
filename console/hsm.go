package console

import "time"

// hsmPage is the site's security module, as it says of itself and as it
// answered now.
type hsmPage struct {
	Model, Serial, Firmware, Slot string
	Certified                     bool
	Certificate                   string // its number, or why there is none
	State                         string // healthy, degraded or down
	Problem                       string // what the module answered instead; "" if all is well
	Asked                         time.Time
	Took                          time.Duration
	Keys                          int
	// Missing are keys that the register has and the module has not; Unknown the
	// other way round.
	Missing, Unknown []Touch
	States           []KeyCount
	Purposes         []KeyCount
}

func (hsmPage) page() string { return "hsm" }

// A KeyCount is how many keys of the register are of a state or a purpose.
type KeyCount struct {
	State   string
	Purpose Text
	Count   int
	Href    string // of these
}
