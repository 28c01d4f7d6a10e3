// Package parts is all that a site can be made of. It is the one place where
// parts are plugged in: who opens a site (site.Open) or sets one up (site.Init)
// gives it All.
package parts

import (
	"ankan/bureau"
	"ankan/operator"
	"ankan/plant"
	"ankan/release"
	"ankan/site"
)

// All is every part of this program. A site does those of its roles.
func All() []site.Part {
	return []site.Part{bureau.Part(), plant.Part(), release.Part(), operator.Part()}
}
