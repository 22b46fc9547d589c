# Targets that scripts rely on; `make help` lists them.
SHELL    := /bin/bash
VERSION  := $(or $(VERSION),$(shell git describe --tags --always --dirty 2>/dev/null || echo 0.0.0))
GOFLAGS  := -trimpath -tags=grpcnotrace
LDFLAGS  := -s -w -X main.version=$(VERSION)
GO_BUILD := CGO_ENABLED=0 go build $(GOFLAGS) -ldflags "$(LDFLAGS)"
# Every parser of bytes that we did not write: package and fuzz target.
FUZZTIME ?= 10s

.PHONY: help run test build lint fuzz bench deps-test peer-otelcol peer-hostmetrics peer-prometheus promtool peer-victorialogs peer-telemetrygen peer-jaeger peer-k8scluster bench-cluster test-crash test-otelcol test-prometheus test-rules test-dashboards test-victorialogs test-chain test-gateway test-peers test-vm test-node test-image apiserver test-cluster deploy-tools manifests package image same-bytes clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

build: ## bin/stint-agent and bin/stint-cluster
	$(GO_BUILD) -o bin/stint-agent ./cmd/stint-agent
	$(GO_BUILD) -o bin/stint-cluster ./cmd/stint-cluster

bin/nfpm: deploy/tools/go.mod
	cd deploy/tools && CGO_ENABLED=0 nice go build -trimpath -ldflags "-s -w" -o $(CURDIR)/bin/nfpm github.com/goreleaser/nfpm/v2/cmd/nfpm

bin/node_exporter: # the peer of the scenario scrape and of test-peers
	GOBIN=$(CURDIR)/bin go install github.com/prometheus/node_exporter@v1.12.1

run: build ## the agent on its embedded default with a demo workload; Ctrl-C ends it
	bin/stint-agent run --demo

test: ## all tests with the race detector
	go test -race -tags=grpcnotrace ./...

lint: ## gofmt, vet, staticcheck, modules in order
	@.ci/lint

fuzz: ## each parser for FUZZTIME
	@.ci/fuzz $(FUZZTIME)

bench: build peer-otelcol bin/node_exporter ## micro-benchmarks, and backlog, load, silence, outage and scraping of the real binary; prints tables
	cd bench && go run ./run -scenario all -out results

bench-cluster: build peer-k8scluster ## stint-cluster and the k8s_cluster receiver before a generator of 3,000 and of 150,000 pods; half an hour
	cd bench && go run ./run -scenario cluster -out results

test-crash: build ## SIGKILL at 30 random moments, and every 3 s, under load: nothing lost
	go test -count=1 -tags="grpcnotrace crash" -run 'TestCrash|TestKillEvery3s' -v -timeout 20m ./cmd/stint-agent

deps-test: peer-otelcol peer-prometheus peer-victorialogs peer-hostmetrics peer-telemetrygen peer-jaeger bin/node_exporter ## the real servers that the tests below run against, each from its Go module

peer-otelcol:
	cd bench/otelcol && CGO_ENABLED=0 go build -trimpath -o otelcol .
peer-hostmetrics:
	cd bench/hostmetrics && CGO_ENABLED=0 go build -trimpath -o hostmetrics .
peer-k8scluster:
	cd bench/k8scluster && CGO_ENABLED=0 go build -trimpath -o k8scluster .
peer-prometheus:
	cd bench/prometheus && CGO_ENABLED=0 go build -trimpath -tags=remove_all_sd -o prometheus github.com/prometheus/prometheus/cmd/prometheus
promtool:
	cd bench/prometheus && CGO_ENABLED=0 go build -trimpath -tags=remove_all_sd -o promtool github.com/prometheus/prometheus/cmd/promtool
peer-victorialogs:
	cd bench/victorialogs && CGO_ENABLED=0 go build -trimpath -o victoria-logs github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs
peer-telemetrygen:
	cd bench/telemetrygen && CGO_ENABLED=0 go build -trimpath -o telemetrygen github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen
peer-jaeger:
	cd bench/jaeger && CGO_ENABLED=0 go build -trimpath -o jaeger github.com/jaegertracing/jaeger/cmd/jaeger

test-otelcol: build peer-otelcol ## every line and metric against a real OpenTelemetry Collector
	cd bench && go test -count=1 -timeout 20m -run TestAgentToCollector ./e2e

test-prometheus: build peer-prometheus ## metrics in a real Prometheus
	cd bench && go test -count=1 -timeout 10m -run TestPrometheus ./e2e

test-rules: promtool ## the alert rules by promtool, and each name in rules and dashboards against what is sent
	bench/prometheus/promtool check rules deploy/prometheus/rules.yaml
	bench/prometheus/promtool test rules deploy/prometheus/rules_test.yaml
	cd bench/prometheus && go test -count=1 ./...

test-dashboards: build peer-prometheus ## every query of the dashboards in a real Prometheus
	cd bench && go test -count=1 -timeout 10m -run TestDashboards -v ./e2e

test-victorialogs: peer-victorialogs ## logs in a real VictoriaLogs: by the _bulk API of Elasticsearch, the push API of Loki, and OTLP
	cd bench && go test -count=1 -timeout 10m -run TestVictoriaLogs ./e2e

test-chain: build ## agent, two gateways of which one is killed every 5 s, and a receiver: nothing lost
	cd bench && go test -count=1 -timeout 10m -run TestChain -v ./e2e

test-gateway: build peer-otelcol peer-telemetrygen peer-jaeger peer-prometheus peer-victorialogs ## what the Go SDK, telemetrygen, Collectors and a browser send to stint-cluster is what Collectors, Jaeger, Prometheus and VictoriaLogs have
	cd bench && go test -count=1 -timeout 10m -run TestGateway -v ./e2e

test-peers: build peer-otelcol peer-hostmetrics bin/node_exporter ## every series of node_exporter and of hostmetrics has its pair here, with the same value
	cd bench && go test -count=1 -timeout 10m -run TestPeers -v ./e2e

test-vm: build bin/nfpm ## the agent's deb and rpm on a Debian with systemd and cgroup v2, under qemu, from installation to removal; takes root and some minutes
	mkdir -p bench/bin/vm
	deploy/package/build bench/bin/vm/old 0.0.1 amd64
	deploy/package/build bench/bin/vm/new 0.0.2 amd64
	[ -e bench/bin/vm/image.ext4 ] || bench/machine/image.sh bench/bin/vm 900M rpm
	cd bench && CGO_ENABLED=0 go build -trimpath -o bin/vm/checks ./vm/checks
	cd bench && go test -count=1 -timeout 25m -v ./vm

NODE = bench/etcd/etcd $(addprefix bench/apiserver/,kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl)

test-node: bin/helm bench/coredns/coredns $(NODE) ## the images and the chart on a Kubernetes node, under qemu: pods, lines, metrics, TLS, restarts and kills; takes root and half an hour
	mkdir -p bench/bin/node
	deploy/image/build bench/bin/node 0.0.1
	cd bench && for program in hand workload; do CGO_ENABLED=0 go build -trimpath -o bin/node/$$program ./node/$$program || exit 1; done
	cd deploy/image && go run . -name workload -version 1 -created 0 -out ../../bench/bin/node/workload.oci.tar amd64=../../bench/bin/node/workload
	[ -e bench/bin/node/image.ext4 ] || bench/machine/image.sh bench/bin/node 4G containerd,runc,containernetworking-plugins,iproute2,iptables,nftables
	cd bench && go test -count=1 -timeout 60m -v ./node

# Kubernetes is built with the version it is of; without that the server has none that clients can use.
KUBERNETES = $(shell sed -n 's/^require k8s.io\/kubernetes //p' bench/apiserver/go.mod)
KUBE_LDFLAGS = $(foreach v,gitVersion=$(KUBERNETES) gitMajor=1 gitMinor=$(word 2,$(subst ., ,$(KUBERNETES))),-X k8s.io/component-base/version.$(v))
ifdef KUBEBUILDER_ASSETS
APISERVER := # there is one
else
APISERVER := bench/etcd/etcd bench/apiserver/kube-apiserver
endif

bench/etcd/etcd: bench/etcd/go.mod
	cd bench/etcd && CGO_ENABLED=0 nice go build -trimpath -ldflags "-s -w" -o etcd go.etcd.io/etcd/server/v3

bench/apiserver/kube%: bench/apiserver/go.mod
	cd bench/apiserver && CGO_ENABLED=0 nice go build -trimpath -ldflags "-s -w $(KUBE_LDFLAGS)" -o $(@F) k8s.io/kubernetes/cmd/$(@F)

bench/coredns/coredns: bench/coredns/go.mod bench/coredns/main.go
	cd bench/coredns && CGO_ENABLED=0 nice go build -trimpath -ldflags "-s -w" -o coredns .

apiserver: $(APISERVER)

test-cluster: build apiserver ## against a real kube-apiserver: that of KUBEBUILDER_ASSETS, else one that is built, the first time in some ten minutes
	go test -count=1 -timeout 20m -tags="grpcnotrace cluster" ./scrape/kube/... ./agent/cluster/... ./deploy

deploy-tools: bin/helm bin/kustomize ## helm and kustomize, from their Go modules; without them the tests of deploy are skipped

# Without a version that is built in helm template takes Kubernetes for 1.20, and refuses the chart.
HELM_KUBE = $(shell sed -n 's/.*k8s.io\/client-go v0\.\([0-9]*\)\..*/\1/p' deploy/tools/go.mod)
HELM_LDFLAGS = -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=$(HELM_KUBE)

bin/helm: deploy/tools/go.mod
	cd deploy/tools && CGO_ENABLED=0 nice go build -trimpath -ldflags "-s -w $(HELM_LDFLAGS)" -o $(CURDIR)/bin/helm helm.sh/helm/v3/cmd/helm
bin/kustomize: deploy/tools/go.mod
	cd deploy/tools && CGO_ENABLED=0 nice go build -trimpath -ldflags "-s -w" -o $(CURDIR)/bin/kustomize sigs.k8s.io/kustomize/kustomize/v5

manifests: deploy-tools ## deploy/kubernetes from the chart, and in dist/ each overlay whole, and the chart packed
	go test -count=1 -tags=grpcnotrace -run TestManifests ./deploy -update
	mkdir -p dist
	bin/kustomize build deploy/kubernetes/base -o dist/stint.yaml
	for dir in deploy/kubernetes/overlays/*; do bin/kustomize build $$dir -o dist/stint-$$(basename $$dir).yaml || exit 1; done
	bin/helm package deploy/helm/stint -d dist

CHECKSUMS = cd dist && rm -f SHA256SUMS && sha256sum $$(ls | sort) >SHA256SUMS

package: build bin/nfpm ## dist/*.deb and *.rpm of stint-agent for amd64 and arm64
	rm -f dist/*.deb dist/*.rpm
	deploy/package/build dist $(VERSION)
	$(CHECKSUMS)
	go test -count=1 -tags=grpcnotrace ./deploy/package -packages $(CURDIR)/dist

image: ## dist/*.oci.tar of both programs for amd64 and arm64, with an SBOM of each binary
	rm -f dist/*.oci.tar dist/*.spdx.json
	deploy/image/build dist $(VERSION)
	$(CHECKSUMS)
	cd deploy/image && go test -count=1 -run 'TestImages|TestSameBytes' .

test-image: image ## both images under runc as their manifests say: no capability, read-only root, the agent before root's logs; takes root
	cd deploy/image && go test -count=1 -run TestRuns -v .

same-bytes: package image ## both a second time, elsewhere and from nothing, and compared byte for byte; takes a commit
	deploy/twice dist $(VERSION)

clean: ## remove what was built
	rm -rf bin dist bench/bin bench/otelcol/otelcol bench/prometheus/prometheus bench/prometheus/promtool bench/victorialogs/victoria-logs bench/hostmetrics/hostmetrics bench/telemetrygen/telemetrygen bench/jaeger/jaeger bench/k8scluster/k8scluster bench/etcd/etcd bench/apiserver/kube* bench/coredns/coredns
