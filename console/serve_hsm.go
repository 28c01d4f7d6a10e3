package console

import (
	"maps"
	"net/url"
	"slices"
	"time"

	"ankan/keys"
)

// getHSM asks the module, and compares what it has with the register.
func (s *Server) getHSM(v *visit) error {
	m := s.site.Token()
	info := m.Info()
	p := hsmPage{Model: info.Model, Serial: info.Serial, Firmware: info.Firmware, Slot: info.Slot, Certified: info.Certified, Certificate: info.Certificate, State: "healthy", Asked: s.site.Store().Now()}
	begun := time.Now()
	err := m.Check(v.ctx())
	p.Took = time.Since(begun)
	have, listErr := m.Keys(v.ctx())
	if err == nil {
		err = listErr
	}
	known, _, regErr := s.site.Register().Keys(v.ctx(), keys.Filter{})
	if regErr != nil {
		return regErr
	}
	states, purposes := map[keys.State]int{}, map[string]int{}
	lost := map[string]bool{}
	for _, k := range known {
		states[k.State]++
		purposes[k.Purpose]++
		lost[k.ID] = k.State != keys.Destroyed && k.State != keys.Making
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		p.States = append(p.States, KeyCount{State: keyState(state), Count: states[state], Href: "/keys?state=" + url.QueryEscape(string(state))})
	}
	for _, purpose := range slices.Sorted(maps.Keys(purposes)) {
		p.Purposes = append(p.Purposes, KeyCount{Purpose: either("purpose."+purpose, purpose), Count: purposes[purpose], Href: "/keys?purpose=" + url.QueryEscape(purpose)})
	}
	if err != nil {
		p.State, p.Problem = "down", err.Error()
		s.render(v.w, v.r, 200, p)
		return nil
	}
	p.Keys = len(have)
	for _, k := range have {
		if _, ok := lost[k.ID]; !ok {
			p.Unknown = append(p.Unknown, touch("key/"+k.ID))
		}
		delete(lost, k.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(lost)) {
		if lost[id] {
			p.Missing = append(p.Missing, touch("key/"+id))
		}
	}
	if p.Missing != nil || p.Unknown != nil {
		p.State = "degraded"
	}
	s.render(v.w, v.r, 200, p)
	return nil
}
