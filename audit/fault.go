package audit

// A Fault is a way in which a log, a proof or a document is not what its
// signature says. Every error of a check that failed wraps one; errors.Is
// tells them apart.
type Fault string

// The faults.
const (
	WrongKey     Fault = "signed by another key"
	Forged       Fault = "forged"
	Altered      Fault = "altered"
	Dropped      Fault = "dropped"
	Added        Fault = "added"
	Reordered    Fault = "reordered"
	Truncated    Fault = "cut short"
	Missing      Fault = "missing"
	Rewritten    Fault = "rewritten"
	Backwards    Fault = "time runs backwards"
	NotCanonical Fault = "not written as the log writes"
)

// Error says the fault in words.
func (f Fault) Error() string { return string(f) }
