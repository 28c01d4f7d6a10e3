package simos

import "ankan/uicc"

func (c *core) envelope(cmd *uicc.Command) uicc.SW { return uicc.SWConditions }
