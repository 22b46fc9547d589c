package export

import (
	"crypto/rand"
	"strconv"
	"sync/atomic"
)

// BatchID is the header, or metadata, with the id of a request. It is the same when a request is sent
// again because its answer was lost, so that stint-cluster takes it once.
const BatchID = "stint-batch-id"

var (
	batchSender = rand.Text()[:16] // of this process
	batchNumber atomic.Uint64
)

func newBatchID() string { return batchSender + "-" + strconv.FormatUint(batchNumber.Add(1), 36) }
