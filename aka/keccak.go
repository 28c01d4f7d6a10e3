package aka

import "math/bits"

// keccak is the permutation Keccak-f[1600] (FIPS 202, 3.3) of 25 lanes, lane
// x+5y at that index. It takes the same time for all values.
func keccak(a *[25]uint64) {
	// Lanes in variables: the compiler keeps some in registers, and checks no index.
	a0, a1, a2, a3, a4 := a[0], a[1], a[2], a[3], a[4]
	a5, a6, a7, a8, a9 := a[5], a[6], a[7], a[8], a[9]
	a10, a11, a12, a13, a14 := a[10], a[11], a[12], a[13], a[14]
	a15, a16, a17, a18, a19 := a[15], a[16], a[17], a[18], a[19]
	a20, a21, a22, a23, a24 := a[20], a[21], a[22], a[23], a[24]
	for _, constant := range [...]uint64{
		0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000,
		0x000000000000808B, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
		0x000000000000008A, 0x0000000000000088, 0x0000000080008009, 0x000000008000000A,
		0x000000008000808B, 0x800000000000008B, 0x8000000000008089, 0x8000000000008003,
		0x8000000000008002, 0x8000000000000080, 0x000000000000800A, 0x800000008000000A,
		0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
	} {
		// θ: the parity of the columns.
		c0 := a0 ^ a5 ^ a10 ^ a15 ^ a20
		c1 := a1 ^ a6 ^ a11 ^ a16 ^ a21
		c2 := a2 ^ a7 ^ a12 ^ a17 ^ a22
		c3 := a3 ^ a8 ^ a13 ^ a18 ^ a23
		c4 := a4 ^ a9 ^ a14 ^ a19 ^ a24
		d0 := c4 ^ bits.RotateLeft64(c1, 1)
		d1 := c0 ^ bits.RotateLeft64(c2, 1)
		d2 := c1 ^ bits.RotateLeft64(c3, 1)
		d3 := c2 ^ bits.RotateLeft64(c4, 1)
		d4 := c3 ^ bits.RotateLeft64(c0, 1)
		// ρ and π: lane x, y turned goes to y, 2x+3y.
		b0 := a0 ^ d0
		b1 := bits.RotateLeft64(a6^d1, 44)
		b2 := bits.RotateLeft64(a12^d2, 43)
		b3 := bits.RotateLeft64(a18^d3, 21)
		b4 := bits.RotateLeft64(a24^d4, 14)
		b5 := bits.RotateLeft64(a3^d3, 28)
		b6 := bits.RotateLeft64(a9^d4, 20)
		b7 := bits.RotateLeft64(a10^d0, 3)
		b8 := bits.RotateLeft64(a16^d1, 45)
		b9 := bits.RotateLeft64(a22^d2, 61)
		b10 := bits.RotateLeft64(a1^d1, 1)
		b11 := bits.RotateLeft64(a7^d2, 6)
		b12 := bits.RotateLeft64(a13^d3, 25)
		b13 := bits.RotateLeft64(a19^d4, 8)
		b14 := bits.RotateLeft64(a20^d0, 18)
		b15 := bits.RotateLeft64(a4^d4, 27)
		b16 := bits.RotateLeft64(a5^d0, 36)
		b17 := bits.RotateLeft64(a11^d1, 10)
		b18 := bits.RotateLeft64(a17^d2, 15)
		b19 := bits.RotateLeft64(a23^d3, 56)
		b20 := bits.RotateLeft64(a2^d2, 62)
		b21 := bits.RotateLeft64(a8^d3, 55)
		b22 := bits.RotateLeft64(a14^d4, 39)
		b23 := bits.RotateLeft64(a15^d0, 41)
		b24 := bits.RotateLeft64(a21^d1, 2)
		// χ and ι.
		a0 = b0 ^ (b2 &^ b1) ^ constant
		a1 = b1 ^ (b3 &^ b2)
		a2 = b2 ^ (b4 &^ b3)
		a3 = b3 ^ (b0 &^ b4)
		a4 = b4 ^ (b1 &^ b0)
		a5 = b5 ^ (b7 &^ b6)
		a6 = b6 ^ (b8 &^ b7)
		a7 = b7 ^ (b9 &^ b8)
		a8 = b8 ^ (b5 &^ b9)
		a9 = b9 ^ (b6 &^ b5)
		a10 = b10 ^ (b12 &^ b11)
		a11 = b11 ^ (b13 &^ b12)
		a12 = b12 ^ (b14 &^ b13)
		a13 = b13 ^ (b10 &^ b14)
		a14 = b14 ^ (b11 &^ b10)
		a15 = b15 ^ (b17 &^ b16)
		a16 = b16 ^ (b18 &^ b17)
		a17 = b17 ^ (b19 &^ b18)
		a18 = b18 ^ (b15 &^ b19)
		a19 = b19 ^ (b16 &^ b15)
		a20 = b20 ^ (b22 &^ b21)
		a21 = b21 ^ (b23 &^ b22)
		a22 = b22 ^ (b24 &^ b23)
		a23 = b23 ^ (b20 &^ b24)
		a24 = b24 ^ (b21 &^ b20)
	}
	*a = [25]uint64{
		a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12,
		a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23, a24,
	}
}
