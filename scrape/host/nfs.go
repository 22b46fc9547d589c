package host

import (
	"errors"
	"math"

	"stint/export/otlp"
	"stint/scrape/kernel"
	"stint/scrape/series"
)

const (
	nfsClientNet = iota
	nfsClientConnections
	nfsClientOperations
	nfsClientProcedures
	nfsClientRPC
	nfsClientRetransmits
	nfsClientAuthRefreshes
	nfsServerNet
	nfsServerConnections
	nfsServerOperations
	nfsServerProcedures
	nfsServerRPC
	nfsServerReplyCache
	nfsServerStaleHandles
	nfsServerIO
	nfsServerThreads
	nfsServerReadAhead // from here on with detail
	nfsServerReadAheadMisses
)

const (
	nfsTransport = "network.transport=udp|tcp"
	nfsOperation = "onc_rpc.version=4; nfs.operation.name=<operation>"
	nfsProcedure = "onc_rpc.version=2|3; onc_rpc.procedure.name=<procedure>"
	nfsClient    = "the NFS client is loaded"
	nfsServer    = "the NFS server is loaded"
)

var nfsMetrics = []series.Metric{
	nfsClientNet: {
		Metric: otlp.Metric{Name: "nfs.client.net.count", Unit: "{record}", Instrument: otlp.Counter,
			Description: "Records that the NFS client exchanged by transport; current kernels leave it at 0."},
		Attributes: nfsTransport,
		Source:     "/proc/1/net/rpc/nfs net",
		When:       nfsClient,
	},
	nfsClientConnections: {
		Metric: otlp.Metric{Name: "nfs.client.net.tcp.connection.accepted", Unit: "{connection}", Instrument: otlp.Counter,
			Description: "TCP connections of the NFS client; current kernels leave it at 0."},
		Source: "/proc/1/net/rpc/nfs net",
		When:   nfsClient,
	},
	nfsClientOperations: {
		Metric: otlp.Metric{Name: "nfs.client.operation.count", Unit: "{operation}", Instrument: otlp.Counter,
			Description: "NFSv4 operations that the client asked for."},
		Attributes: nfsOperation,
		Source:     "/proc/1/net/rpc/nfs proc4",
		When:       "it was asked for once",
	},
	nfsClientProcedures: {
		Metric: otlp.Metric{Name: "nfs.client.procedure.count", Unit: "{procedure}", Instrument: otlp.Counter,
			Description: "NFSv2 and NFSv3 procedures that the client called."},
		Attributes: nfsProcedure,
		Source:     "/proc/1/net/rpc/nfs proc2, proc3",
		When:       "it was called once",
	},
	nfsClientRPC: {
		Metric: otlp.Metric{Name: "nfs.client.rpc.count", Unit: "{request}", Instrument: otlp.Counter,
			Description: "Calls of the NFS client."},
		Source: "/proc/1/net/rpc/nfs rpc",
		When:   nfsClient,
	},
	nfsClientRetransmits: {
		Metric: otlp.Metric{Name: "nfs.client.rpc.retransmit.count", Unit: "{retransmit}", Instrument: otlp.Counter,
			Description: "Calls that the NFS client sent again."},
		Source: "/proc/1/net/rpc/nfs rpc",
		When:   nfsClient,
	},
	nfsClientAuthRefreshes: {
		Metric: otlp.Metric{Name: "nfs.client.rpc.authrefresh.count", Unit: "{authrefresh}", Instrument: otlp.Counter,
			Description: "Times the NFS client refreshed its credentials."},
		Source: "/proc/1/net/rpc/nfs rpc",
		When:   nfsClient,
	},
	nfsServerNet: {
		Metric: otlp.Metric{Name: "nfs.server.net.count", Unit: "{request}", Instrument: otlp.Counter,
			Description: "Requests to the NFS server by transport."},
		Attributes: nfsTransport,
		Source:     "/proc/1/net/rpc/nfsd net",
		When:       nfsServer,
	},
	nfsServerConnections: {
		Metric: otlp.Metric{Name: "nfs.server.net.tcp.connection.accepted", Unit: "{connection}", Instrument: otlp.Counter,
			Description: "TCP connections that the NFS server accepted."},
		Source: "/proc/1/net/rpc/nfsd net",
		When:   nfsServer,
	},
	nfsServerOperations: {
		Metric: otlp.Metric{Name: "nfs.server.operation.count", Unit: "{operation}", Instrument: otlp.Counter,
			Description: "NFSv4 operations that the server was asked for."},
		Attributes: nfsOperation,
		Source:     "/proc/1/net/rpc/nfsd proc4ops",
		When:       "it was asked for once",
	},
	nfsServerProcedures: {
		Metric: otlp.Metric{Name: "nfs.server.procedure.count", Unit: "{procedure}", Instrument: otlp.Counter,
			Description: "NFSv2 and NFSv3 procedures called on the server."},
		Attributes: nfsProcedure,
		Source:     "/proc/1/net/rpc/nfsd proc2, proc3",
		When:       "it was called once",
	},
	nfsServerRPC: {
		Metric: otlp.Metric{Name: "nfs.server.rpc.count", Unit: "{request}", Instrument: otlp.Counter,
			Description: "Calls to the NFS server; with error.type those that it could not make out or refused, without it all."},
		Attributes: "error.type=format|auth|client",
		Source:     "/proc/1/net/rpc/nfsd rpc",
		When:       nfsServer,
	},
	nfsServerReplyCache: {
		Metric: otlp.Metric{Name: "nfs.server.repcache.requests", Unit: "{request}", Instrument: otlp.Counter,
			Description: "Requests by what the NFS server's reply cache had for them; a hit is a request that came twice."},
		Attributes: "nfs.server.repcache.status=hit|miss|nocache",
		Source:     "/proc/1/net/rpc/nfsd rc",
		When:       nfsServer,
	},
	nfsServerStaleHandles: {
		Metric: otlp.Metric{Name: "nfs.server.fh.stale.count", Unit: "{fh}", Instrument: otlp.Counter,
			Description: "File handles that the NFS server found stale."},
		Source: "/proc/1/net/rpc/nfsd fh",
		When:   nfsServer,
	},
	nfsServerIO: {
		Metric: otlp.Metric{Name: "nfs.server.io", Unit: "By", Instrument: otlp.Counter,
			Description: "Bytes that clients wrote to the NFS server (receive) and read from it (transmit)."},
		Attributes: "network.io.direction=receive|transmit",
		Source:     "/proc/1/net/rpc/nfsd io",
		When:       nfsServer,
	},
	nfsServerThreads: {
		Metric: otlp.Metric{Name: "nfs.server.thread.count", Unit: "{thread}", Instrument: otlp.UpDown,
			Description: "Threads of the NFS server."},
		Source: "/proc/1/net/rpc/nfsd th",
		When:   nfsServer,
	},
	nfsServerReadAhead: {
		Metric: otlp.Metric{Name: "nfs.server.read_ahead_cache.size", Unit: "{block}", Instrument: otlp.Gauge,
			Description: "Size of the NFS server's cache for reading ahead."},
		Source: "/proc/1/net/rpc/nfsd ra",
		When:   "host.nfs.detail is on and the kernel has such a cache (until 5.4)",
	},
	nfsServerReadAheadMisses: {
		Metric: otlp.Metric{Name: "nfs.server.read_ahead_cache.not_found", Unit: "{request}", Instrument: otlp.Counter,
			Description: "Reads that the NFS server's cache for reading ahead did not know."},
		Source: "/proc/1/net/rpc/nfsd ra",
		When:   "host.nfs.detail is on and the kernel has such a cache (until 5.4)",
	},
}

// nfs is the scraper of the kernel's NFS client and server.
type nfs struct {
	files [2]nfsFile // client, server
	prev  uint64     // time of the last scrape
}

// nfsFile is /proc/net/rpc/nfs or nfsd: lines of a name and numbers.
type nfsFile struct {
	kernel.File
	values []nfsValue       // in the order of their metrics
	lines  map[string][]int // values by line and column; -1: not taken
	start  uint64           // 0 = the machine's
}

// nfsValue is a number in the file, and its point.
type nfsValue struct {
	metric int
	attrs  []byte
	raw, v uint64
	has    bool // in this scrape
	rare   bool // no point while it is 0
}

// NFSv2 and NFSv3 procedures by number (RFC 1094, RFC 1813).
var (
	nfs2Procedures = []string{"NULL", "GETATTR", "SETATTR", "ROOT", "LOOKUP", "READLINK", "READ", "WRITECACHE", "WRITE", "CREATE", "REMOVE",
		"RENAME", "LINK", "SYMLINK", "MKDIR", "RMDIR", "READDIR", "STATFS"}
	nfs3Procedures = []string{"NULL", "GETATTR", "SETATTR", "LOOKUP", "ACCESS", "READLINK", "READ", "WRITE", "CREATE", "MKDIR", "SYMLINK", "MKNOD",
		"REMOVE", "RMDIR", "RENAME", "LINK", "READDIR", "READDIRPLUS", "FSSTAT", "FSINFO", "PATHCONF", "COMMIT"}
)

// nfs4ClientOperations are the kernel's calls of NFSv4 (NFSPROC4_CLNT_* in include/linux/nfs4.h).
var nfs4ClientOperations = []string{"NULL", "READ", "WRITE", "COMMIT", "OPEN", "OPEN_CONFIRM", "OPEN_NOATTR", "OPEN_DOWNGRADE", "CLOSE", "SETATTR",
	"FSINFO", "RENEW", "SETCLIENTID", "SETCLIENTID_CONFIRM", "LOCK", "LOCKT", "LOCKU", "ACCESS", "GETATTR", "LOOKUP", "LOOKUP_ROOT", "REMOVE",
	"RENAME", "LINK", "SYMLINK", "CREATE", "PATHCONF", "STATFS", "READLINK", "READDIR", "SERVER_CAPS", "DELEGRETURN", "GETACL", "SETACL",
	"FS_LOCATIONS", "RELEASE_LOCKOWNER", "SECINFO", "FSID_PRESENT", "EXCHANGE_ID", "CREATE_SESSION", "DESTROY_SESSION", "SEQUENCE",
	"GET_LEASE_TIME", "RECLAIM_COMPLETE", "GETDEVICEINFO", "LAYOUTGET", "LAYOUTCOMMIT", "LAYOUTRETURN", "SECINFO_NO_NAME", "TEST_STATEID",
	"FREE_STATEID", "GETDEVICELIST", "BIND_CONN_TO_SESSION", "DESTROY_CLIENTID", "SEEK", "ALLOCATE", "DEALLOCATE", "LAYOUTSTATS", "CLONE",
	"COPY", "OFFLOAD_CANCEL", "LOOKUPP", "LAYOUTERROR", "COPY_NOTIFY", "GETXATTR", "SETXATTR", "LISTXATTRS", "REMOVEXATTR", "READ_PLUS"}

// nfs4Operations are those of the protocol by number (RFC 8881, RFC 7862, RFC 8276); 0 to 2 are none.
var nfs4Operations = []string{"", "", "", "ACCESS", "CLOSE", "COMMIT", "CREATE", "DELEGPURGE", "DELEGRETURN", "GETATTR", "GETFH", "LINK", "LOCK",
	"LOCKT", "LOCKU", "LOOKUP", "LOOKUPP", "NVERIFY", "OPEN", "OPENATTR", "OPEN_CONFIRM", "OPEN_DOWNGRADE", "PUTFH", "PUTPUBFH", "PUTROOTFH",
	"READ", "READDIR", "READLINK", "REMOVE", "RENAME", "RENEW", "RESTOREFH", "SAVEFH", "SECINFO", "SETATTR", "SETCLIENTID",
	"SETCLIENTID_CONFIRM", "VERIFY", "WRITE", "RELEASE_LOCKOWNER", "BACKCHANNEL_CTL", "BIND_CONN_TO_SESSION", "EXCHANGE_ID", "CREATE_SESSION",
	"DESTROY_SESSION", "FREE_STATEID", "GET_DIR_DELEGATION", "GETDEVICEINFO", "GETDEVICELIST", "LAYOUTCOMMIT", "LAYOUTGET", "LAYOUTRETURN",
	"SECINFO_NO_NAME", "SEQUENCE", "SET_SSV", "TEST_STATEID", "WANT_DELEGATION", "DESTROY_CLIENTID", "RECLAIM_COMPLETE", "ALLOCATE", "COPY",
	"COPY_NOTIFY", "DEALLOCATE", "IO_ADVISE", "LAYOUTERROR", "LAYOUTSTATS", "OFFLOAD_CANCEL", "OFFLOAD_STATUS", "READ_PLUS", "SEEK",
	"WRITE_SAME", "CLONE", "GETXATTR", "SETXATTR", "LISTXATTRS", "REMOVEXATTR"}

func newNFS(h *Host, cfg *Config) scraper {
	dir := h.proc + "/" + h.pid + "/net/rpc/"
	client, server := newNFSFile(dir+"nfs"), newNFSFile(dir+"nfsd")

	client.add(nfsClientNet, "net", 1, attr("network.transport", "udp"))
	client.add(nfsClientNet, "net", 2, attr("network.transport", "tcp"))
	client.add(nfsClientConnections, "net", 3, nil)
	client.addNamed(nfsClientOperations, "proc4", "4", nfs4ClientOperations)
	client.addNamed(nfsClientProcedures, "proc2", "2", nfs2Procedures)
	client.addNamed(nfsClientProcedures, "proc3", "3", nfs3Procedures)
	client.add(nfsClientRPC, "rpc", 0, nil)
	client.add(nfsClientRetransmits, "rpc", 1, nil)
	client.add(nfsClientAuthRefreshes, "rpc", 2, nil)

	server.add(nfsServerNet, "net", 1, attr("network.transport", "udp"))
	server.add(nfsServerNet, "net", 2, attr("network.transport", "tcp"))
	server.add(nfsServerConnections, "net", 3, nil)
	server.addNamed(nfsServerOperations, "proc4ops", "4", nfs4Operations)
	server.addNamed(nfsServerProcedures, "proc2", "2", nfs2Procedures)
	server.addNamed(nfsServerProcedures, "proc3", "3", nfs3Procedures)
	server.add(nfsServerRPC, "rpc", 0, nil)
	server.add(nfsServerRPC, "rpc", 2, attr("error.type", "format")) // column 1 is the sum of these
	server.add(nfsServerRPC, "rpc", 3, attr("error.type", "auth"))
	server.add(nfsServerRPC, "rpc", 4, attr("error.type", "client"))
	server.add(nfsServerReplyCache, "rc", 0, attr("nfs.server.repcache.status", "hit"))
	server.add(nfsServerReplyCache, "rc", 1, attr("nfs.server.repcache.status", "miss"))
	server.add(nfsServerReplyCache, "rc", 2, attr("nfs.server.repcache.status", "nocache"))
	server.add(nfsServerStaleHandles, "fh", 0, nil)
	server.add(nfsServerIO, "io", 1, attr("network.io.direction", "receive"))
	server.add(nfsServerIO, "io", 0, attr("network.io.direction", "transmit"))
	server.add(nfsServerThreads, "th", 0, nil)
	if cfg.NFS.Detail {
		server.add(nfsServerReadAhead, "ra", 0, nil)
		server.add(nfsServerReadAheadMisses, "ra", 11, nil)
	}
	return &nfs{files: [2]nfsFile{client, server}}
}

func newNFSFile(path string) nfsFile {
	return nfsFile{File: kernel.NewFile(path), lines: map[string][]int{}}
}

// add says which point the number in a column of a line is.
func (f *nfsFile) add(metric int, line string, column int, attrs []otlp.KeyValue) {
	for len(f.lines[line]) <= column {
		f.lines[line] = append(f.lines[line], -1)
	}
	f.lines[line][column] = len(f.values)
	f.values = append(f.values, nfsValue{metric: metric, attrs: series.Attributes(attrs...)})
}

// addNamed says the same of a line that counts each operation of a version. Its first number
// is how many follow.
func (f *nfsFile) addNamed(metric int, line, version string, names []string) {
	key := "onc_rpc.procedure.name"
	if version == "4" {
		key = "nfs.operation.name"
	}
	for i, name := range names {
		if name != "" {
			f.add(metric, line, 1+i, attr("onc_rpc.version", version, key, name))
			f.values[len(f.values)-1].rare = true
		}
	}
}

func (s *nfs) close() {
	for i := range s.files {
		s.files[i].Close()
	}
}

func (s *nfs) scrape(p *series.Points, now uint64) error {
	boot := p.Start
	var errs [2]error
	for i := range s.files {
		f := &s.files[i]
		p.Start = boot
		var reset bool
		if reset, errs[i] = f.update(); reset {
			f.start = s.prev
		}
		if f.start != 0 {
			p.Start = f.start
		}
		for j := range f.values {
			if q := &f.values[j]; q.has && (q.v > 0 || !q.rare) {
				p.Int(q.metric, q.attrs, q.v)
			}
		}
	}
	p.Start, s.prev = boot, now
	return errors.Join(errs[:]...)
}

// update reads the file and tells whether its counters have begun anew: the module was loaded
// again.
func (f *nfsFile) update() (reset bool, err error) {
	for i := range f.values {
		f.values[i].has = false
	}
	b, err := f.ReadIfThere()
	for len(b) > 0 && err == nil {
		var l []byte
		l, b = kernel.Line(b)
		name, rest := kernel.Field(l)
		for _, i := range f.lines[string(name)] {
			n, after, ok := kernel.Number(rest)
			if !ok {
				if word, _ := kernel.Field(rest); len(word) > 0 {
					err = kernel.Malformed(f.Path, l)
				}
				break // an older kernel has fewer
			}
			if rest = after; i >= 0 {
				reset = f.values[i].count(n) || reset
			}
		}
	}
	return reset, err
}

// count takes in a number. The kernel's counters of NFS are 32-bit, and more in newer ones: a
// step back by more than half the range is a wrap, by less a new beginning.
func (q *nfsValue) count(n uint64) (reset bool) {
	q.has = true
	switch {
	case q.metric == nfsServerThreads || q.metric == nfsServerReadAhead: // levels
		q.v = n
	case n >= q.raw:
		q.v += n - q.raw
	case q.raw <= math.MaxUint32 && q.raw-n > math.MaxUint32/2:
		q.v += n + 1<<32 - q.raw
	default:
		q.v, reset = n, true
	}
	q.raw = n
	return reset
}
