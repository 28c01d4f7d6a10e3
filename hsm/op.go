package hsm

import (
	"fmt"

	"ankan/aka"
	"ankan/hsm/internal/secret"
)

// OP is an operator's variant of an algorithm: OP of MILENAGE (TS 35.206, 3),
// 16 bytes, or TOP of TUAK (TS 35.231, 5), 32. It turns a K into its OPc or
// TOPc and gives itself away to nobody: it cannot be printed, marshalled,
// compared or read. The zero value refuses.
type OP struct {
	unprintable
	value secret.Hidden[[32]byte]
	n     int // bytes of value
}

// NewOP keeps a copy of op, 16 or 32 bytes; it is for implementations of Token.
func NewOP(op []byte) (*OP, error) {
	if len(op) != 16 && len(op) != 32 {
		return nil, fmt.Errorf("OP has %d bytes, want 16 of MILENAGE or 32 of TUAK", len(op))
	}
	var value [32]byte
	return &OP{value: secret.Hide(&value), n: copy(value[:], op)}, nil
}

// OPc appends the OPc, or TOPc of TUAK, that belongs to k to dst
// (aka.Parameters.AppendVariant). It refuses parameters of an algorithm that
// its length is not of. It may be called at the same time.
func (o *OP) OPc(dst, k []byte, p aka.Parameters) ([]byte, error) {
	if o == nil || o.value.Get() == nil {
		return dst, ErrClosed
	}
	return p.AppendVariant(dst, k, o.value.Get()[:o.n])
}

// Close wipes OP. Nobody may be using it.
func (o *OP) Close() {
	if o == nil || o.value.Get() == nil {
		return
	}
	clear(o.value.Get()[:])
	o.value = nil
}
