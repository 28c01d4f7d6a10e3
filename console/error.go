package console

// errorPage says what happened, why, and what next. Status picks the words.
type errorPage struct {
	Status int
	// Reference is what the log knows the incident by; "" if nothing is wrong
	// with the site.
	Reference string
}

func (errorPage) page() string { return "error" }

// Known is the status, or 500 if the catalogue has no words for it.
func (e errorPage) Known() int {
	switch e.Status {
	case 400, 403, 404, 405, 413, 429, 503:
		return e.Status
	}
	return 500
}
