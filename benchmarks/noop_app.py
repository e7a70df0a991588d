"""The yardstick: Litestar's own no-op handlers, on the same server with the same settings as ours."""

from litestar import Litestar, MediaType, Request, Response, get, post


@post("/echo")
async def echo(request: Request) -> Response[bytes]:
    """The raw body back, as it came."""
    return Response(await request.body(), media_type=MediaType.JSON)


@get("/noop")
async def noop() -> Response[bytes]:
    """A ready answer of an order's size."""
    return Response(ANSWER, media_type=MediaType.JSON)


ANSWER = (
    b'{"success":true,"message":"Order retrieved","data":{"orderId":"ORDER-0001","customerId":"CUST-1234","orderDate":'
    b'"2026-01-13T10:30:00Z","items":[{"itemId":"ITEM-LAPTOP-1","quantity":1,"price":999.99},{"itemId":"ITEM-MOUSE-2",'
    b'"quantity":2,"price":10.5},{"itemId":"ITEM-CAMERA-3","quantity":1,"price":100.0}],"totalAmount":1120.99,'
    b'"currency":"USD","status":"pending","shippingCost":22.41}}'
)

app = Litestar([echo, noop], openapi_config=None, logging_config=None)
