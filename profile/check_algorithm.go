package profile

// The authentication algorithm is one that the card and the operator's
// authentication centre can both compute.
var checkAlgorithm = check{"algorithm", "TS 33.102, 6.3; TS 35.206", func(p *Profile, found func(pos, string, ...any)) {
	switch p.Algorithm {
	case "MILENAGE":
		if p.SQN.INDBits != 5 {
			found(pos{1, 1}, "SQN has %d bits of index, the reference OS has 5 (TS 33.102, C.3.2)", p.SQN.INDBits)
		}
	case "TUAK":
		found(pos{1, 1}, "algorithm TUAK is known but not supported yet, want MILENAGE")
	case "COMP128", "COMP128v1", "COMP128v2", "COMP128v3", "XOR":
		found(pos{1, 1}, "algorithm %s gives no security, want MILENAGE", p.Algorithm)
	default:
		found(pos{1, 1}, "algorithm %q is not known, want MILENAGE", p.Algorithm)
	}
}}
