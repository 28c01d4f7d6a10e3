// Package simulate runs whole factories under seeds: two operators, a bureau and
// a plant with their people, partners, chips, clocks, faults and deaths, in one
// process, step by step. What happens in a run follows from its seed alone. A
// model beside the factory knows what may come of it, and both are compared.
//
// The sites are the real ones, with their databases, modules, messages and
// signatures; the people hold software passkeys and the chips are software. What
// is not there is the network: files are carried between the spools, late, twice,
// in another order, or by somebody who kept a copy.
//
// Keys, names of files and serial numbers of acts are random as ever. Decisions
// do not depend on them.
package simulate
