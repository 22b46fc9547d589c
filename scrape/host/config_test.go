package host

import "testing"

func TestSelected(t *testing.T) {
	for name, tc := range map[string]struct {
		include, exclude []string
		device           string
		want             bool
	}{
		"no lists take all":        {nil, nil, "sda", true},
		"include takes its own":    {[]string{"sd*"}, nil, "nvme0n1", false},
		"exclude takes out":        {nil, []string{"loop*"}, "loop7", false},
		"exclude is the stronger":  {[]string{"sd*"}, []string{"sdb"}, "sdb", false},
		"names are matched whole":  {[]string{"sd"}, nil, "sda", false},
		"defaults leave out loops": {Defaults().Disk.Include, Defaults().Disk.Exclude, "loop0", false},
		"defaults keep eth0":       {Defaults().Network.Include, Defaults().Network.Exclude, "eth0", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := selected(tc.include, tc.exclude, tc.device); got != tc.want {
				t.Errorf("selected(%q, %q, %q) = %v", tc.include, tc.exclude, tc.device, got)
			}
		})
	}
}

func TestUnderAny(t *testing.T) {
	globs := Defaults().Filesystem.ExcludeMountPoints
	for mount, want := range map[string]bool{
		"/": false, "/dev": true, "/dev/shm": true, "/device": false, "/var/lib/kubelet": false, "/var/lib/kubelet/pods/x/volumes/y": true,
		"/run": false, "/run/user/1000": true, "/run/media/me/stick": false, "/snap/core/1": true, "/home": false,
	} {
		if got := underAny(globs, mount); got != want {
			t.Errorf("underAny(%q) = %v", mount, got)
		}
	}
	if err := Defaults().Check(); err != nil {
		t.Error(err)
	}
}
