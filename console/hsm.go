package console

import "time"

// hsmPage is the security modules of the site.
type hsmPage struct {
	Modules []Module
}

func (hsmPage) page() string { return "hsm" }

// A Module is one security module, as it says of itself and as we saw it.
type Module struct {
	Name, Model, Serial, Firmware string
	Slot                          string
	Certified                     bool
	Certificate                   string // "FIPS 140-3, 4567", or why there is none
	Until                         time.Time
	State                         string // healthy, degraded or down
	Seen                          time.Time
	Keys, Free                    int
	Sessions, SessionsMax         int
	Tests                         []Claim // self-tests and what we test
	Rack                          string
	Opened                        time.Time // the rack's last opening
	Mechanisms                    []string
}
