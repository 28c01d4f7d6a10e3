package site

// For the tests that stand outside, because they plug parts in.
const (
	KeyLog     = keyLog
	MaxRequest = maxRequest
)

var (
	LoadPartners   = loadPartners
	ReadSecretFile = readSecretFile
)
