package hsm

import (
	"fmt"

	"ankan/aka"
	"ankan/hsm/internal/secret"
)

// OP is an operator's variant of MILENAGE (TS 35.206, 3). It turns a K into
// its OPc and gives itself away to nobody: it cannot be printed, marshalled,
// compared or read. The zero value refuses.
type OP struct {
	unprintable
	value secret.Hidden[[16]byte]
}

// NewOP keeps a copy of op, 16 bytes; it is for implementations of Token.
func NewOP(op []byte) (*OP, error) {
	if len(op) != 16 {
		return nil, fmt.Errorf("OP has %d bytes, want 16", len(op))
	}
	value := [16]byte(op)
	return &OP{value: secret.Hide(&value)}, nil
}

// OPc appends the OPc that belongs to k, 16 bytes, to dst (TS 35.206, 4.1).
// It may be called at the same time.
func (o *OP) OPc(dst, k []byte) ([]byte, error) {
	if o == nil || o.value.Get() == nil {
		return dst, ErrClosed
	}
	return aka.AppendOPc(dst, k, o.value.Get()[:])
}

// Close wipes OP. Nobody may be using it.
func (o *OP) Close() {
	if o == nil || o.value.Get() == nil {
		return
	}
	clear(o.value.Get()[:])
	o.value = nil
}
