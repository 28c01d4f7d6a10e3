package hsm

import (
	"crypto/rand"
	"crypto/subtle"
)

// NewSharedDataKey draws a data key of which nothing is kept but shares, one
// for each holder, threshold of which open it again (OpenSharedDataKey):
// 2 <= threshold < len(to) <= 16. It is for what has to open where no module is
// left. random is a module's generator; the system's is mixed in. Where shares
// belong together is said by set.
func NewSharedDataKey(set string, threshold int, to []Holder, random func([]byte) error) (*DataKey, []Share, error) {
	key, more := make([]byte, 32), make([]byte, 32)
	defer clear(key)
	defer clear(more)
	if err := random(key); err != nil {
		return nil, nil, err
	}
	rand.Read(more)
	subtle.XORBytes(key, key, more)
	shares, err := SplitShares(key, AES256, set, threshold, to, random)
	if err != nil {
		return nil, nil, err
	}
	dk, err := NewDataKey(key)
	return dk, shares, err
}

// OpenSharedDataKey puts a data key together from at least threshold shares of
// one set. Errors are as of JoinShares.
func OpenSharedDataKey(shares []Share, open Opener) (*DataKey, error) {
	key, err := JoinShares(shares, AES256, open)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return NewDataKey(key)
}
