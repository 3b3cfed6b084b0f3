//! Servers on tokio's multi-threaded runtime; HTTP by hyper. The loop that accepts is in a task of its
//! own, as `block_on` itself would run on a thread that is no worker. A task that computes keeps its
//! worker for ever, so what computes beside the server is given to `spawn_blocking`.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serve_kit::http::BODY;
use serve_kit::{Args, BUFFER, TIME_OUT, compute};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::time::timeout;

fn main() -> ExitCode {
    serve_kit::main(&[
        ("echo", |args| serve(*args, 0, echo)),
        ("http", |args| serve(*args, 0, http)),
        ("echo-time-outs", |args| serve(*args, 0, echo_with_time_outs)),
        ("echo-beside", |args| serve(*args, args.workers, echo)),
    ])
}

/// Serves each connection in a task, beside so many threads that compute.
fn serve<F>(args: Args, beside: usize, connection: fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let runtime = Builder::new_multi_thread().worker_threads(args.workers).enable_all().build()?;
    for _ in 0..beside {
        runtime.spawn_blocking(|| compute());
    }
    let accept = runtime.spawn(async move {
        let listener = TcpListener::bind(args.address()).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(connection(stream));
        }
    });
    runtime.block_on(accept)?
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            len => stream.write_all(&buffer[..len]).await?,
        }
    }
}

async fn echo_with_time_outs(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        let request = async {
            let len = stream.read(&mut buffer).await?;
            stream.write_all(&buffer[..len]).await?;
            io::Result::Ok(len)
        };
        if timeout(TIME_OUT, request).await?? == 0 {
            return Ok(());
        }
    }
}

async fn http(stream: TcpStream) -> io::Result<()> {
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(hello));
    served.await.map_err(io::Error::other)
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(BODY.as_bytes())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}
