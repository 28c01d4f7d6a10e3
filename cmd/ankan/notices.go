package main

import (
	"net/url"

	"ankan/notice"
)

type noticesCmd struct {
	siteFlag
	Person string `required:"" placeholder:"N" help:"Person number." env:"ANKAN_PERSON"`
	Unread bool   `help:"Only what the person has not looked at in the console."`
}

func (n noticesCmd) Run(a *app) error {
	c, err := n.client(a)
	if err != nil {
		return err
	}
	path := "/people/" + url.PathEscape(n.Person) + "/notices"
	if n.Unread {
		path += "?unread=true"
	}
	var all []notice.Notice
	if err := c.Get(a.ctx, path, &all); err != nil {
		return err
	}
	return a.print(n.JSON, all, func() {
		if len(all) == 0 {
			a.printf("no notices\n")
		}
		for _, one := range all {
			mark := "new "
			if !one.Read.IsZero() {
				mark = "    "
			}
			a.printf("%s%s  %s  %s\n", mark, when(one.At), one.Subject, one.Text)
		}
	})
}
