package otlp

import (
	"bytes"
	"testing"
	"time"
)

// A request in which something else stands between any two records is taken apart in a time that grows with its
// length, not with the square of it: a client must not keep the gateway busy for hours with one request.
func TestPiecesInLinearTime(t *testing.T) {
	var scope []byte
	for len(scope) < 4<<20 {
		scope = appendBytes(appendBytes(scope, 2, nil), 9, nil) // a record, and what a later version may have
	}
	request := appendBytes(nil, 1, appendBytes(nil, 2, scope))
	want, err := Count(Logs, request)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan []Piece, 1)
	go func() {
		all, err := Pieces(Logs, request)
		if err != nil {
			t.Error(err)
		}
		got <- all
	}()
	select {
	case all := <-got:
		if len(all) != 1 || all[0].Records != want || len(all[0].Data) != 2*want || len(all[0].Group.scope) != 2*want {
			t.Errorf("%d pieces, want one of %d records", len(all), want)
		}
		if !bytes.Equal(request, appendBytes(nil, 1, appendBytes(nil, 2, scope))) {
			t.Error("the request was written to")
		}
	case <-time.After(20 * time.Second): // it takes some 50 ms
		t.Fatal("it takes longer than 20 s")
	}
}
