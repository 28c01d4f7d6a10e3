package hsm

// knownKeys are keys that anybody knows and that have no pattern. Those with
// one, such as 00..0F, 40..4F (GlobalPlatform), 0123456789ABCDEF FEDCBA98.. or
// 00112233.., are refused for their pattern. What is printed as 24 bytes
// stands here with its first 16.
var knownKeys = [...]struct{ key, source string }{
	{"2b7e151628aed2a6abf7158809cf4f3c", "FIPS 197, A.1"},
	{"8e73b0f7da0e6452c810f32b809079e5", "FIPS 197, A.2"},
	{"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", "FIPS 197, A.3"},
	{"5840df6e29b02af1ab493b705bf16ea1", "RFC 5649, 6"},
	{"06a9214036b8a15b512e03d534120006", "RFC 3602, case 1"},
	{"c286696d887c9aa0611bbb3e2025a45a", "RFC 3602, case 2"},
	{"88e1ab2a2e3dd38c1fa039a536500cc8a87ab9d62dc92c01058fa79f44657de6", "TR-31:2018, A.7.4"},
	{"3f419e1cb7079442aa37474c2efbf8b8", "TR-31:2018, A.7.4"},
	{"0123456789abcdef23456789abcdef01", "NIST SP 800-67, B.1: the first two keys of three"},

	{"465b5ce8b199b49faa5f0a2ee238a6bc", "TS 35.208, set 1: K, the default of Open5GS"},
	{"cdc202d5123e20f62b6d676ac72cb318", "TS 35.208, set 1: OP"},
	{"cd63cb71954a9f4e48a5994e37a02baf", "TS 35.208, set 1: OPc"},
	{"0396eb317b6d1c36f19c1c84cd6ffd16", "TS 35.208, set 2: K"},
	{"ff53bade17df5d4e793073ce9d7579fa", "TS 35.208, set 2: OP"},
	{"53c15671c60a4b731c55b4a441c0bde2", "TS 35.208, set 2: OPc"},
	{"fec86ba6eb707ed08905757b1bb44b8f", "TS 35.208, set 3: K, a default of OpenAirInterface"},
	{"dbc59adcb6f9a0ef735477b7fadf8374", "TS 35.208, set 3: OP"},
	{"1006020f0a478bf6b699f15c062e42b3", "TS 35.208, set 3: OPc"},
	{"9e5944aea94b81165c82fbf9f32db751", "TS 35.208, set 4: K"},
	{"223014c5806694c007ca1eeef57f004f", "TS 35.208, set 4: OP"},
	{"a64a507ae1a2a98bb88eb4210135dc87", "TS 35.208, set 4: OPc"},
	{"4ab1deb05ca6ceb051fc98e77d026a84", "TS 35.208, set 5: K"},
	{"2d16c5cd1fdf6b22383584e3bef2a8d8", "TS 35.208, set 5: OP"},
	{"dcf07cbd51855290b92a07a9891e523e", "TS 35.208, set 5: OPc"},
	{"6c38a116ac280c454f59332ee35c8c4f", "TS 35.208, set 6: K"},
	{"1ba00a1a7c6700ac8c3ff3e96ad08725", "TS 35.208, set 6: OP"},
	{"3803ef5363b947c6aaa225e58fae3934", "TS 35.208, set 6: OPc"},
	{"bd04d9530e87513c5d837ac2ad954623a8e2330c115305a73eb45d1f40cccbff", "TS 35.233, set 1: TOPc"},
	{"305425427e18c503c8a4b294ea72c95d0c36c6c6b29d0c65de5974d5977f8524", "TS 35.233, set 2: TOPc"},
	{"b8da837a50652d6ac7c97da14f6acc61", "TS 35.233, set 4: K"},
	{"0952be13556c32ebc58195d9dd930493e12a9003669988ffde5fa1f0fe35cc01", "TS 35.233, set 4: TOP"},
	{"2bc16eb657a68e1f446f08f57c0efb1d493527a2e652ce281eb6ca0e4487760a", "TS 35.233, set 4: TOPc"},
	{"1574ca56881d05c189c82880f789c9cd4244955f4426aa2b69c29f15770e5aa5", "TS 35.233, set 5: K"},
	{"e59f6eb10ea406813f4991b0b9e02f181edf4c7e17b480f66d34da35ee88c95e", "TS 35.233, set 5: TOP"},
	{"3c6052e41532a28a47aa3cbb89f223e8f3aaa976aecd48bc3e7d6165a55eff62", "TS 35.233, set 5: TOPc"},
	{"b04a66f26c62fcd6c82de22a179ab65506ecf47f56245cd149966cfa9cec7a51", "TS 35.233, set 6: TOPc"},

	{"8baf473f2f8fd09487cccbd7097c6862", "the configuration of free5GC: K"},
	{"8e27b6af0e692e750f32667a3b14605d", "the configuration of free5GC: OPc"},
	{"e734f8734007d6c5ce7a0508809e7e9c", "the configuration of OpenAirInterface: OPc"},
	{"0c0a34601d4f07677303652c0462535b", "the configuration of OpenAirInterface: K"},
	{"63bfa50ee6523365ff14c1f45f88737d", "the configuration of OpenAirInterface: OPc"},
	{"c42449363bbad02b66d16bc975d77cc1", "the configuration of OpenAirInterface: OPc"},
}
