package profile

// The authentication algorithm is one that the card and the operator's
// authentication centre can both compute, with parameters that its standard
// has. One that protects nothing is on test cards alone.
var checkAlgorithm = check{"algorithm", "TS 33.102, 6.3; TS 35.206; TS 35.231", func(p *Profile, found func(pos, string, ...any)) {
	a := p.Parameters()
	if err := a.Check(); err != nil {
		found(pos{1, 1}, "%v", err)
	}
	if a.Algorithm.Test() && !p.Test {
		found(pos{1, 1}, "algorithm %s is for test cards: who hears a challenge and its answer has the key; say test: true if these are some", a.Algorithm)
	}
	if p.SQN.INDBits != 5 {
		found(pos{1, 1}, "SQN has %d bits of index, the reference OS has 5 (TS 33.102, C.3.2)", p.SQN.INDBits)
	}
}}
